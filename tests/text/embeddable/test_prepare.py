from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultembed.text.embeddable.prepare import PREPARE_VERSION, base_subject, prepare_tag, prepare_text

OWN = "The boat leaves at seven from the old harbour."
THEIRS = "Which harbour do you mean, and when?"
QUOTED = f"> {THEIRS}\n> \n> Ann"


def test_subject_stands_in_front_and_blank_is_blank() -> None:
    assert prepare_text("Boat", OWN) == f"Subject: Boat\n\n{OWN}"
    assert prepare_text("", OWN) == OWN
    assert prepare_text("Boat", " \n") == "Subject: Boat"
    assert prepare_text(" ", "\n\t\n") == ""
    assert prepare_tag() == f"p{PREPARE_VERSION}" == "p2"


@pytest.mark.parametrize(
    "attribution",
    [
        "On Mon, Apr 2, 2012 at 6:26 PM, Ann Example <ann@example.org> wrote:",
        "On Mon, Apr 2, 2012 at 6:26 PM, Ann Example\n<ann@example.org> wrote:",
        "Ann Example wrote:",
        "ann at example.org writes:",
        "At 10:15 AM 3/4/2002 -0500, Ann wrote:",
        "Quoting Ann Example <ann@example.org>:",
        "* Ann Example <ann@example.org> [2002-03-04 10:00]:",
        "2013/5/3 Ann Example <ann@example.org>",
        "From: Ann Example <ann@example.org>\nDate: Mon, 2 Apr 2012",
        "Am 02.04.2012 um 18:26 schrieb Ann Example:",
        "Am Mo., 2. Apr. 2012 um 18:26 Uhr schrieb Ann <\nann@example.org>:",
        "Le 2 avril 2012 à 18:26, Ann Example <ann@example.org> a écrit :",
        "El lun, 2 abr 2012 a las 18:26, Ann (<ann@example.org>) escribió:",
        "Il giorno lun 2 apr 2012 alle 18:26 Ann <ann@example.org> ha scritto:",
        "Em seg., 2 de abr. de 2012 às 18:26, Ann <ann@example.org> escreveu:",
        "Op ma 2 apr. 2012 om 18:26 schreef Ann <ann@example.org>:",
        "Den 2. apr. 2012 kl. 18.26 skrev Ann <ann@example.org>:",
        "W dniu 02.04.2012 o 18:26, Ann pisze:",
        "Dne 2. 4. 2012 v 18:26 Ann napsala:",
        "2 апреля 2012 г., 18:26 пользователь Ann <ann@example.org> написал:",
        "2012年4月2日(月) 18:26 Ann <ann@example.org>:",
        "Ann <ann@example.org> 于2012年4月2日周一 18:26写道：",
        # list archives lose letters beyond ASCII, and web forums the colon
        "Le 2 avril 2012 à 18:26, Ann Example a ??crit :",
        "2 avril 2012, Ann <ann@example.org> a ?crit?:",
        "El lun, 2 abr 2012 a las 18:26, Ann (<ann@example.org>) escribi??:",
        "2012.04.02. 18:26 keltez?ssel, Ann ?rta:",
        "Ann napisa?(a):",
        "Ann Example-2 wrote",
    ],
)
def test_quotes_go_with_their_attribution(attribution: str) -> None:
    assert prepare_text("Re: Boat", f"{OWN}\n\n{attribution}\n\n{QUOTED}") == f"Subject: Boat\n\n{OWN}"
    assert prepare_text("Boat", f"{attribution}\n{QUOTED}\n\n{OWN}\n") == f"Subject: Boat\n\n{OWN}"


@pytest.mark.parametrize(
    "block",
    [
        "-----Original Message-----\nFrom: Ann\nSent: Monday\nTo: Bob\nSubject: Boat",
        "From: Ann Example [mailto:ann@example.org]\nSent: Monday, April 2, 2012 6:26 PM\nTo: Bob\nSubject: Boat",
        "________________________________\nFrom: Ann\nDate: Monday\nTo: Bob\nSubject: Boat",
        "*From:* Ann\n*Sent:* Monday\n*To:* Bob\n*Subject:* Boat",
        "Von: Ann\nGesendet: Montag, 2. April 2012\nAn: Bob\nBetreff: Boot",
        "De : Ann\nEnvoyé : lundi 2 avril 2012\nÀ : Bob\nObjet : Bateau",
        "De: Ann\nEnviado el: lunes\nPara: Bob\nAsunto: Barco",
        "Da: Ann\nInviato: lunedì\nA: Bob\nOggetto: Barca",
        "Van: Ann\nVerzonden: maandag\nAan: Bob\nOnderwerp: Boot",
        "Fra: Ann\nSendt: mandag\nTil: Bob\nEmne: Båd",
        "Från: Ann\nSkickat: måndag\nTill: Bob\nÄmne: Båt",
        "Od: Ann\nWysłano: poniedziałek\nDo: Bob\nTemat: Łódź",
        "От: Ann\nОтправлено: понедельник\nКому: Bob\nТема: Лодка",
        "De : Ann\nEnvoy? : lundi 2 avril 2012\n? : Bob\nObjet : Bateau",
        "De?: Ann\nEnvoy??: lundi 2 avril 2012\n??: Bob\nObjet?: Bateau",
        "Fr?n: Ann\nSkickat: m?ndag\nTill: Bob\n?mne: B?t",
        "Od: Ann\nWys?ano: poniedzia?ek\nDo: Bob\nTemat: ??d?",
        "Felad?: Ann\nElk?ldve: h?tf?\nC?mzett: Bob\nT?rgy: Haj?",
        "Od: Ann\nOdesláno: pondělí\nKomu: Bob\nPředmět: Loď",
        "差出人: Ann\n送信日時: 月曜日\n宛先: Bob\n件名: 船",
        "发件人: Ann\n发送时间: 星期一\n收件人: Bob\n主题: 船",
        "On May 30, 2020, at 4:24 PM, Ann <ann@example.org> wrote:",
    ],
)
def test_what_follows_an_unmarked_header_is_a_quotation(block: str) -> None:
    assert prepare_text("RE: Boat", f"{OWN}\n\n{block}\n\n{THEIRS}\nAnn") == f"Subject: Boat\n\n{OWN}"


def test_answers_between_quotes_are_kept() -> None:
    body = f"Ann wrote:\n> {THEIRS}\n\nThe old one.\n\n> And my coat?\nIt is in the hall.\n> thanks"
    assert prepare_text("Re: Boat", body) == "Subject: Boat\n\nThe old one.\n\nIt is in the hall."


@pytest.mark.parametrize(
    ("subject", "marker"),
    [
        ("Fwd: Boat", "---------- Forwarded message ---------"),
        ("Boat", "Begin forwarded message:"),
        ("WG: Boat", "-----Ursprüngliche Nachricht-----"),
        ("FW: Boat", "________________________________"),
        ("Re: Boat", "-------- Weitergeleitete Nachricht --------"),
    ],
)
def test_a_forwarded_message_is_content(subject: str, marker: str) -> None:
    prepared = prepare_text(subject, f"{OWN}\n\n{marker}\nFrom: Ann\nDate: Monday\nTo: Bob\nSubject: Boat\n\n{THEIRS}")
    assert OWN in prepared
    assert THEIRS in prepared


def test_marks_are_content_where_nobody_is_quoted() -> None:
    body = "This is what I see:\n\n> library(sp)\n> plot(meuse)\nError in plot\n\nWhat is wrong?"
    assert "library(sp)" in prepare_text("plot fails", body)


SESSION = "> library(sp)\n> m <- read.csv(\n+ 'm.csv')\n> # now look\n> plot(m)\n[1] 17"


@pytest.mark.parametrize(
    ("body", "is_kept"),
    [
        (f"This is what I see:\n\n{SESSION}\n\nWhat is wrong?", True),
        (f"Ann wrote:\n> {THEIRS}\n\nI get this:\n\n{SESSION}", True),  # the computer answers below
        (f"You can do this:\n\n> library(sp)\n> plot(m)\n\nOn 1 May 2012, Ann wrote:\n> {THEIRS}", True),  # above
        ("Ann wrote:\n> library(sp)\n> plot(m)\n\nUse the other one.", False),
        (f"Ann wrote:\n> {THEIRS}\n\nI see.\n\n> library(sp)\n> plot(m)\n\nUse the other one.", False),
        ("> > library(sp)\n> plot(m)\n\nUse the other one.", False),
        (f"> I would call plot(m) there, if I were you\n> and library(sp) before it, for good measure\n\n{OWN}", False),
    ],
)
def test_what_was_typed_at_a_prompt_is_no_quotation(body: str, is_kept: bool) -> None:
    for subject, answers in (("Re: plot", False), ("plot", True)):
        assert ("library(sp)" in prepare_text(subject, body, answers=answers)) is is_kept


@pytest.mark.parametrize(
    "quoted",
    [
        f"-----Original Message-----\nFrom: Ann [mailto:ann at x.org]\nSent: Monday\nTo: Bob\nSubject: x\n\n{THEIRS}",
        f"      On Wednesday, 10 June 2015, 16:43, Ann <ann at example.org> wrote:\n\n{THEIRS}",
        f"Le 15/03/2012 09:56, Ann Example a ?crit :\n{THEIRS}",
        f"Le 15/03/2012 09:56, Ann Example a écrit :\n{THEIRS}",
        f"Ann> {THEIRS}\nAnn> and more",
    ],
)
def test_a_message_that_answers_is_a_reply_whatever_its_subject(quoted: str) -> None:
    assert prepare_text("[List] boat", f"{OWN}\n\n{quoted}", answers=True) == f"Subject: boat\n\n{OWN}"


def test_what_stands_behind_a_prompt_of_a_database_is_content() -> None:
    body = f"{OWN}\n\nmysql> select 1;\nmysql> select 2;"
    assert "select 2" in prepare_text("Re: query", body)


def test_footers_and_notes_of_list_servers_go() -> None:
    footer = (
        "-.-.-.-.-.-.-.-.-.-.-.-.-\nr-devel mailing list -- Read http://www.example.org/FAQ.html\n"
        'Send "info", "help", or "[un]subscribe"\n_._._._._._._._._._._.'
    )
    assert prepare_text("Boat", f"{OWN}\n\n{footer}") == f"Subject: Boat\n\n{OWN}"
    assert prepare_text("Boat", f"{OWN}\n\n\t[[alternative HTML version deleted]]\n") == f"Subject: Boat\n\n{OWN}"


def test_mail_shown_as_an_example_in_a_new_message_is_content() -> None:
    body = f"It breaks on this:\n\nFrom: a@b.org\nTo: c@d.org\nSubject: x\n\nhi\n\n{OWN}"
    assert OWN in prepare_text("A parser breaks", body)
    assert OWN not in prepare_text("Re: A parser breaks", body)


def test_a_bare_quotation_stands_in_for_missing_words() -> None:
    assert prepare_text("Re: Boat", f"Ann wrote:\n{QUOTED}").startswith("Subject: Boat\n\n")
    assert THEIRS in prepare_text("Re: Boat", f"Ann wrote:\n{QUOTED}")


@pytest.mark.parametrize(
    "tail",
    [
        "-- \nBob Example\n+1 555 0100",
        "--\nBob Example",
        "Sent from my iPhone",
        "Sent from my Samsung Galaxy smartphone.",
        "Get Outlook for iOS<https://aka.ms/o0ukef>",
        "Von meinem iPhone gesendet",
        "Envoyé de mon iPhone",
        "Enviado desde mi iPhone",
        "Inviato da iPhone",
        "Verstuurd vanaf mijn iPhone",
        "Skickat från min iPhone",
        "Отправлено с iPhone",
        "iPhoneから送信",
        "Best regards,\nBob Example\nHead of Harbours",
        "Mit freundlichen Grüßen\n\nBob Example",
        "Cordialement,\nBob",
        "_______________________________________________\nBoats mailing list\nhttps://lists.example.org/listinfo/boats",
        (
            "This e-mail is confidential and intended only for the named recipient. If you have received it in "
            "error, please delete it. Any unauthorised disclosure of the information contained in it is prohibited."
        ),
    ],
)
def test_signatures_and_footers_go(tail: str) -> None:
    assert prepare_text("Boat", f"{OWN}\n\n{tail}\n") == f"Subject: Boat\n\n{OWN}"


@pytest.mark.parametrize(
    "body",
    [
        "Sent from my desk, this is much easier than the phone.",
        "Thanks,\nbut there is one more thing that I wanted to tell you about the harbour.",
        "I will bring -- as always -- the map.",
        "On Monday the captain wrote: we leave at dawn.\nI do not believe him.",
        "Cheers\n\nPS: bring a coat, it is cold out there.",
        "Options:\n- the old harbour\n- the new one\n\nFrom: there it is a mile.",
        "a < b > c | d",
    ],
)
def test_own_words_that_look_like_something_else_are_kept(body: str) -> None:
    assert " ".join(prepare_text("", body).split()) == " ".join(body.split())


def test_blobs_go_and_words_around_them_stay() -> None:
    blob = "\n".join(["A1b2C3d4" * 9] * 20)
    uu = "begin 644 map.gif\n" + "\n".join(["M" + "!" * 60] * 5) + "\n`\nend"
    signed = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA1\n\n{OWN}\n"
    signed += "-----BEGIN PGP SIGNATURE-----\n\niQA\n-----END PGP SIGNATURE-----"
    assert prepare_text("", f"{OWN}\n\n{blob}\n\nafter it") == f"{OWN}\n\nafter it"
    assert prepare_text("", f"{OWN}\n\n{uu}\n\nafter it") == f"{OWN}\n\nafter it"
    assert prepare_text("", signed) == OWN


def test_tracking_goes_and_addresses_stay_readable() -> None:
    assert prepare_text("", "see https://x.org/a?utm_source=n&id=7&fbclid=abc now") == "see https://x.org/a?id=7 now"
    long = "https://click.example.org/path/to/page?" + "q=" + "Ab3" * 100
    assert prepare_text("", f"see {long}.") == "see https://click.example.org/path/to/page."


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Re: Boat", ("boat", True)),
        ("RE: FW: Re[2]: Boat", ("boat", True)),
        ("AW: [harbour] WG: Boat", ("boat", True)),
        ("[harbour] Re: Boat", ("boat", True)),
        ("SV: VS: Boat", ("boat", True)),
        ("Odp: Boat", ("boat", True)),
        ("回复：船", ("船", True)),
        ("Ответ: Лодка", ("лодка", True)),
        ("Fwd: Boat", ("boat", False)),
        ("Boat (fwd)", ("boat", False)),
        ("Reminder: boat", ("reminder: boat", False)),
        ("[harbour]", ("[harbour]", False)),
        ("Re:", ("", True)),
        ("R: a language", ("r: a language", False)),
    ],
)
def test_base_subject_is_what_threads_share(subject: str, expected: tuple[str, bool]) -> None:
    assert base_subject(subject) == expected


def test_tags_that_say_something_stay_and_list_names_go() -> None:
    assert prepare_text("Re: [R-sig-Geo] [PATCH 2/3] fix", "") == "Subject: [PATCH 2/3] fix"


LINES = st.sampled_from(
    [
        "> quoted",
        ">> more",
        "own words",
        "-- ",
        "--",
        "",
        "Ann wrote:",
        "On 1 Jan 2000 10:00, Ann <a@b.org> wrote:",
        "From: Ann",
        "Sent: now",
        "To: Bob",
        "Subject: x",
        "-----Original Message-----",
        "Begin forwarded message:",
        "______________",
        "mailing list",
        "Thanks,",
        "begin 644 x",
        "-----BEGIN PGP MESSAGE-----",
        "Sent from my iPhone",
        "| a | b |",
        "confidential privileged in error disclosure",
    ]
)


@given(st.text(max_size=30), st.lists(LINES | st.text(max_size=20), max_size=20))
def test_preparing_is_pure_and_loses_a_text_only_if_it_says_nothing(subject: str, lines: list[str]) -> None:
    body = "\n".join(lines)
    prepared = prepare_text(subject, body)
    assert prepared == prepare_text(subject, body)
    assert prepared == prepared.strip()
    if "own words" in lines and not subject.strip():
        assert prepared


@pytest.mark.parametrize(
    "body",
    [
        "> " * 500000,
        ">\n" * 500000,
        "On " * 300000 + "wrote:",
        "wrote:\n" * 150000,
        "From: \n" * 150000,
        "-" * 1000000,
        "_____\n" * 150000,
        "a" * 1000000,
        "http://" * 150000,
        "http://x?" + "a=b&" * 250000,
        "begin 644 x\n" * 80000,
        "-----BEGIN PGP X-----\n" * 50000,
        "A" * 75 + "\n",
        "thanks\n" * 150000,
        "confidential " * 80000,
        "[image:" * 150000,
        "<mailto:" * 120000,
        "\n" * 1000000,
        " " * 1000000 + "x",
        "word " * 200000,
        "> a\nb\n" * 150000,
        "On 1 Jan 2000 10:00, x wrote:\n" * 40000,
        "\u3000" * 500000,
        "Date: 1\n> x\n" * 80000,
        "(" * 500000,
        "Sent from " * 100000,
        "a.b@" * 250000,
        "A1b2" * 24 * 10000,
    ],
    ids=lambda body: ascii(body[:24]),
)
@pytest.mark.slow
def test_hostile_text_takes_seconds_at_most(body: str) -> None:
    begin = time.process_time()
    prepare_text("Re: x", body)
    assert time.process_time() - begin < 8
