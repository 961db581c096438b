-- The coarse index of one generation: one bit a dimension (its sign), rowid = chunks.id. Derived from vectors; may be rebuilt
-- from it at any time. Point deletes only ("rowid = ?"): with IN, vec0 scans the whole table.
CREATE VIRTUAL TABLE vec_{generation_id} USING vec0(embedding bit[{dimension}]);
