"""Which language a reader gets, and that every text of the console is in every language."""

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from autocity.console import words

FOLDER = words.FOLDER.parent
PLACE = re.compile(r"%\((\w+)\)s|%%")


def extracted() -> set[str]:
    methods = [("**.py", "python"), ("templates/**.html", "jinja2"), ("templates/**.txt", "jinja2")]
    keywords = {"_": None, "say": None}
    return {
        message for _, _, message, _, _ in extract_from_dir(FOLDER, methods, keywords=keywords) if message
    }


def translated(language: str) -> dict[str, str]:
    file = words.FOLDER / language.replace("-", "_") / "LC_MESSAGES" / "console.po"
    with file.open("rb") as source:
        return {str(m.id): str(m.string) for m in read_po(source) if m.id and not m.fuzzy}


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        (None, None, "en"),
        ("zh-Hans", "en", "zh-Hans"),
        ("xx", "zh-CN,zh;q=0.9", "zh-Hans"),
        (None, "fr, zh;q=0.3, en;q=0.8", "en"),
        (None, "fr;q=1, zh-TW;q=0.5", "zh-Hans"),
        (None, "zh;q=0, en;q=0.1", "en"),
        (None, "zh;q=much", "en"),
        (None, ",;,", "en"),
    ],
)
def test_the_cookie_wins_then_the_most_wanted_language(
    cookie: str | None, accept: str | None, language: str
) -> None:
    assert words.choose(cookie, accept) == language


def test_every_text_is_translated() -> None:
    assert len(extracted()) > 200
    chinese = translated("zh-Hans")
    assert {text for text in extracted() if not chinese.get(text)} == set()


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_a_catalogue_holds_the_texts_of_the_console_and_no_others(language: str) -> None:
    assert set(translated(language)) == extracted()


def test_a_translation_has_the_places_of_its_text() -> None:
    for text, translation in translated("zh-Hans").items():
        assert sorted(PLACE.findall(translation)) == sorted(PLACE.findall(text)), text


def test_chinese_is_punctuated_full_width() -> None:
    half_width = re.compile(r"[\u4e00-\u9fff][,:;?!]")
    assert [t for t in translated("zh-Hans").values() if half_width.search(t)] == []


def test_saying_fills_the_places() -> None:
    assert words.speech("en")("of %(all)s", all=7) == "of 7"
    assert words.speech("zh-Hans")("of %(all)s", all=7) == "共 7"


def test_catalogues_lie_where_the_wheel_takes_them_from() -> None:
    assert words.FOLDER.is_relative_to(Path(words.__file__).parent)
