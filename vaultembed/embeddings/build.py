"""`embeddings build`: which generation to fill, what it will cost, its verification and activation."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from vaultembed.archive.database import Archive
from vaultembed.archive.generations.backstop import BACKSTOP_HOURS, Backstop, is_due
from vaultembed.archive.generations.records import (
    Coverage,
    Generation,
    ModelRecord,
    coverage_of,
    create_generation,
    generation_to_fill,
    generation_with_id,
    list_generations,
    set_canary,
    set_model_path,
    set_recipe,
)
from vaultembed.archive.generations.runs import RunCounts
from vaultembed.archive.generations.scopes import EVERYTHING, Scope
from vaultembed.archive.generations.transitions import activate, reopen, restamp
from vaultembed.archive.generations.work import (
    count_work,
    read_work,
    retry_failed,
    retry_partial,
    settle,
    watermark_of,
    work_ids,
)
from vaultembed.archive.mail.fulltext import refresh_stale
from vaultembed.embeddings.ahead import prepare_message
from vaultembed.embeddings.quality import Quality, compare_with_active
from vaultembed.embeddings.recipe import Job, Recipe, recipe_for
from vaultembed.embeddings.resilient import check_canary, check_model, embed_texts, make_canary
from vaultembed.embeddings.stopping import check_goes_on
from vaultembed.embeddings.verify import Verified, verify_for_use
from vaultembed.embeddings.worker import NO_LIMITS, Filler, Limits
from vaultembed.errors import ModelError
from vaultembed.models.protocol import Embedder, ModelFacts

MAX_FAILED: Final = 10
"""So many failed messages still count as complete."""
_SAMPLE_MESSAGES: Final = 400
_SAMPLE_CHUNKS: Final = 24
_WORTH_SAMPLING: Final = 200
_PAGE: Final = 10_000
_BYTES_PER_CHUNK: Final = 300
"""Rows and indexes of a chunk besides its vector, measured on real mail."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a build is asked to make. Nothing asked for: whatever the generation there is says."""

    model_named: bool = False
    """The model was asked for, and is not merely that of the generation there is."""
    chunk_tokens: int | None = None
    scope: Scope | None = None
    new: bool = False
    """Begin another generation even if there is one of this fingerprint."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a build goes about it."""

    max_failed: int = MAX_FAILED
    hold: bool = False
    """Do not activate what is complete."""
    retry_failed: bool = False
    retry_partial: bool = False
    """Embed again what is embedded in part, as far as more of it would be embedded now."""
    accept_worse: bool = False
    """Activate it also if it finds less than the one in use."""
    backstop: bool = False
    backstop_hours: float = BACKSTOP_HOURS
    """Between two backstops that run by themselves; 0 is never."""
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build is about to do."""

    generation: Generation
    messages: int
    """To be embedded now."""
    about_tokens: int | None
    """None where too few messages are left to be worth an estimate."""
    about_seconds: float | None
    about_bytes: int | None


@dataclass(frozen=True, slots=True)
class Built:
    generation: Generation
    coverage: Coverage
    run: RunCounts
    activated: bool
    interrupted: bool
    """There is work left: it was stopped, reached a limit, or mail was edited to the last moment."""
    verified: Verified | None
    """None where nothing was to be activated."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Whom a build tells how far it is, and asks whether to go on."""

    on_plan: Callable[[Plan], None] = lambda _: None
    on_start: Callable[[int], None] = lambda _: None
    """Gets the run's id, before any work."""
    on_batch: Callable[[RunCounts], None] = lambda _: None
    on_wait: Callable[[str], None] = lambda _: None
    """What is waited for: another worker's part."""
    on_filled: Callable[[], None] = lambda: None
    """This process has done its part: what others do until it returns counts as well."""
    should_stop: Callable[[], bool] = lambda: False


UNOBSERVED: Final = Observer()


def choose_generation(archive: Archive, embedder: Embedder, model_path: str | None, wanted: Wanted = Wanted()) -> Job:
    """The generation that a build with this model fills: the one there is if it is what is wanted, else a retired one
    that is, else a new one.

    Raises:
        ModelError: another generation is being built; or the model file has changed under its name.
    """
    facts = embedder.facts
    present = generation_to_fill(archive)
    if present is not None and not wanted.new and _is_wanted(present, facts, wanted):
        recipe = Recipe.from_tag(present.recipe)
        set_model_path(archive, present, model_path)
        set_recipe(archive, present.id, recipe.tag)  # a newer preparation of texts tops up the same generation
        return Job(generation_with_id(archive, present.id), recipe)
    if present is not None and not wanted.new:
        _check_not_altered(present, facts, model_path, wanted)
    recipe = recipe_for(facts.context_length, wanted.chunk_tokens)
    scope = wanted.scope or EVERYTHING
    if present is not None and present.state == "building":
        raise ModelError(
            f"generation {present.id} is being built with {present.fingerprint}, not with"
            f" {facts.space}:{recipe.tag}{':' + scope.tag if scope.tag else ''}",
            "Finish it first: vaultembed embeddings build, without any of these options."
            " Or abandon it: vaultembed embeddings discard",
        )
    if not wanted.new:
        for former in reversed(list_generations(archive)):
            if (
                former.state == "retired"
                and former.pruned_at is None
                and (former.space, former.recipe, former.scope) == (facts.space, recipe.tag, scope.tag)
                and former.model.weights_sha256 == facts.weights_sha256
            ):
                # before anything changes: a sick model would leave it half reopened, and block the one in use
                check_model(embedder)
                if former.canary is not None:
                    check_canary(embedder, former.canary, former.id)
                reopened = reopen(archive, former.id)
                set_model_path(archive, reopened, model_path)
                return Job(generation_with_id(archive, former.id), recipe)
    check_model(embedder)
    canary = make_canary(embedder)
    record = model_record(facts, model_path)
    created = create_generation(archive, record, facts.space, recipe.tag, scope, canary, again=wanted.new)
    if (created.space, created.recipe, created.scope) != (facts.space, recipe.tag, scope.tag):
        return choose_generation(
            archive, embedder, model_path, wanted
        )  # another process was first, with something else
    return Job(created, recipe)


def _is_wanted(present: Generation, facts: ModelFacts, wanted: Wanted) -> bool:
    if present.space != facts.space:
        return False
    if wanted.scope is not None and wanted.scope.tag != present.scope:
        return False
    return wanted.chunk_tokens is None or Recipe.from_tag(present.recipe).max_tokens == wanted.chunk_tokens


def _check_not_altered(present: Generation, facts: ModelFacts, model_path: str | None, wanted: Wanted) -> None:
    """A model that changed under its name is not what anybody asked for: to embed everything anew with it unasked would
    be hours of surprise, and to go on with it would mix two spaces."""
    same_name = (present.model.path or present.model.name) == (model_path or facts.name)
    other_weights = present.model.weights_sha256 != facts.weights_sha256
    if present.space != facts.space and (not wanted.model_named or (same_name and other_weights)):
        why = (
            f"its weights have sha256 {facts.weights_sha256[:16]}…, not {present.model.weights_sha256[:16]}…"
            if other_weights
            else f"{facts.space}, not {present.space}"
        )
        raise ModelError(
            f"the model {facts.name} is not the one generation {present.id} was made with: {why}",
            "Put the model back, or embed anew with this one: vaultembed embeddings build --new",
        )


def build(
    archive: Archive,
    embedder: Embedder,
    job: Job,
    options: Options = Options(),
    observer: Observer = UNOBSERVED,
    open_model: Callable[[Generation], Embedder] | None = None,
) -> Built:
    """Fill a generation, verify and activate it when it is complete. `open_model` opens that of the generation in use,
    to compare the two; without it they are not compared.

    Raises:
        ModelError: the model does not work, or not as it did when the generation began.
        StoppedError: before anything was embedded, or when everything was and it had not been verified.
        IncompleteError: complete but for too many failed messages.
        DamageError: what was built did not pass verification; it is not activated.
        WorseError: nor is what finds less than the generation in use.
    """
    archive.load_vec()
    refresh_stale(archive, observer.should_stop)
    restamp(archive, observer.should_stop)
    generation = job.generation
    passed_over = _misses_more_than_it_finds(archive, generation)
    if options.retry_failed:
        retry_failed(archive, generation.id)
    if options.retry_partial:
        retry_partial(archive, generation.id, f"{job.recipe.tag}c{job.recipe.most_chunks}")
    backstop = None
    if options.backstop or passed_over or is_due(archive, generation.id, options.backstop_hours):
        backstop = Backstop(archive, generation.id)
    run = RunCounts()
    if backstop is not None or _has_work(archive, generation):
        run = _fill(archive, embedder, job, options.limits, backstop, observer)
        observer.on_filled()
    else:
        settle(archive, generation.id)
    coverage = coverage_of(archive, generation.id)
    verified, activated = None, False
    state = generation_with_id(archive, generation.id).state
    if state == "building" and coverage.live and not coverage.missing and not options.hold:

        def go_on(_: int) -> None:
            check_goes_on(observer.should_stop)

        def on_question(number: int) -> None:
            go_on(number)
            observer.on_wait(f"comparing it with the generation in use: {number} questions asked")

        def judge() -> Quality | str | None:
            return open_model and compare_with_active(archive, generation, embedder, open_model, on_question)

        verified = verify_for_use(archive, generation, embedder, go_on, judge, accept_worse=options.accept_worse)
        activated = activate(archive, generation.id, options.max_failed)
    return Built(generation, coverage, run, activated, _has_work(archive, generation), verified)


def _misses_more_than_it_finds(archive: Archive, generation: Generation) -> bool:
    """Whether something is missing that no look above the watermark finds: what writes without triggers, or a stamp
    that is not true. Not to wait for a day with."""
    with archive.snapshot():
        missing = coverage_of(archive, generation.id).missing
        return missing > 0 and missing > count_work(archive, generation.id, watermark_of(archive, generation.id))


def _has_work(archive: Archive, generation: Generation) -> bool:
    return bool(work_ids(archive, generation.id, watermark_of(archive, generation.id), 1))


def _fill(
    archive: Archive,
    embedder: Embedder,
    job: Job,
    limits: Limits,
    backstop: Backstop | None,
    observer: Observer,
) -> RunCounts:
    generation = job.generation
    to_do = count_work(archive, generation.id, watermark_of(archive, generation.id))
    if to_do or backstop is not None:  # which may find some
        check_model(embedder)
        if generation.canary is None:
            set_canary(archive, generation.id, make_canary(embedder))
        else:
            check_canary(embedder, generation.canary, generation.id)
    if to_do:
        # with a time given, what can be done in it is done: to say how much would take a part of it
        measured = limits.until is None and to_do >= _WORTH_SAMPLING
        plan = _plan(archive, job, embedder, to_do, observer.should_stop) if measured else None
        observer.on_plan(plan or Plan(generation, to_do, None, None, None))
    filler = Filler(
        archive,
        job,
        embedder,
        limits=limits,
        backstop=backstop,
        on_batch=observer.on_batch,
        on_wait=observer.on_wait,
        should_stop=observer.should_stop,
    )
    observer.on_start(filler.run_id)
    return filler.run()


def _plan(
    archive: Archive, job: Job, embedder: Embedder, messages: int, should_stop: Callable[[], bool]
) -> Plan | None:
    """Measured, not guessed: a sample of the messages is prepared and embedded."""
    generation = job.generation
    picked = _sample(archive, generation, messages)
    texts: list[str] = []
    for work in read_work(archive, picked):
        if should_stop():
            return None
        texts += [chunk.text for chunk in prepare_message(work, embedder, job.recipe).chunks]
    if not texts:
        return None
    scale = messages / len(picked)
    tokens = scale * sum(embedder.count_tokens(text) for text in texts)
    # mail is very uneven: many messages are prepared to count tokens, of which few are embedded to find the rate
    tried = random.Random(0).sample(texts, min(_SAMPLE_CHUNKS, len(texts)))  # noqa: S311
    started = time.monotonic()
    rate = embed_texts(embedder, tried).tokens / max(time.monotonic() - started, 1e-6)
    row = 2 * generation.dimension + generation.dimension // 8 + _BYTES_PER_CHUNK
    return Plan(
        generation,
        messages,
        about_tokens=round(tokens),
        about_seconds=tokens / rate,
        about_bytes=round(scale * sum(row + len(text) for text in texts)),
    )


def _sample(archive: Archive, generation: Generation, messages: int) -> list[int]:
    """Some ids of the work, each as likely as another; read in pages, for there may be millions."""
    chosen = set(random.Random(0).sample(range(messages), min(_SAMPLE_MESSAGES, messages)))  # noqa: S311 (no secret)
    found: list[int] = []
    after, seen = watermark_of(archive, generation.id), 0
    while ids := work_ids(archive, generation.id, after, limit=_PAGE):
        found += [message_id for place, message_id in enumerate(ids, seen) if place in chosen]
        after, seen = ids[-1], seen + len(ids)
    return found


def model_record(facts: ModelFacts, path: str | None) -> ModelRecord:
    return ModelRecord(**asdict(facts), path=path)
