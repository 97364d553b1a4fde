"""A manifest gives a listing, or one sentence that names the line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyasd.core.errors import BadDataset
from eyasd.training.data import table
from eyasd.training.data.listing import File, Listing
from eyasd.training.data.table import read_table


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes a manifest beside a.png, b.png and c.png."""
    for name in "abc":
        (tmp_path / f"{name}.png").touch()

    def write(content: str | bytes, name: str = "photos.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def outcome(path: Path, confined: bool) -> tuple[File, ...] | str:
    """Reads a table; anything but a BadDataset is an error of the test that asks."""
    try:
        return read_table(path, confined=confined).files
    except BadDataset as error:
        return error.message


def pairs(listing: Listing) -> list[tuple[str, str]]:
    return [(file.name, file.label) for file in listing.files]


class TestCsv:
    def test_paths_and_labels(self, written: Callable[..., Path], tmp_path: Path) -> None:
        listing = read_table(written("path,label\nb.png,hat\na.png,shoe\n"))
        assert listing == Listing(
            (File(tmp_path / "a.png", "a.png", ("shoe",), None), File(tmp_path / "b.png", "b.png", ("hat",), None)), (), ()
        )

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbfpath,label\r\na.png,hat\r\nb.png,shoe",
            b' Label ,PATH\nhat,a.png\n" shoe ",b.png\n\n',
            b'"path","label"\n"a.png","hat"\n"b.png","shoe"\n',
        ],
        ids=["byte order mark and CRLF", "any order, case and blanks", "quotes"],
    )
    def test_spellings_of_the_same(self, written: Callable[..., Path], content: bytes) -> None:
        assert pairs(read_table(written(content))) == [("a.png", "hat"), ("b.png", "shoe")]

    def test_quoted_fields_hold_commas_quotes_and_line_breaks(self, written: Callable[..., Path]) -> None:
        listing = read_table(written('path,label\na.png,"a, ""b""\nc"\nb.png,d\n'))
        assert pairs(listing) == [("a.png", 'a, "b"\nc'), ("b.png", "d")]

    def test_an_endless_column_is_told_shortly(self, written: Callable[..., Path]) -> None:
        with pytest.raises(BadDataset, match="'photos.csv' has no column 'path'. Its first line") as told:
            read_table(written("x" * 60_000 + "\n"))
        assert len(told.value.message) < 500

    def test_lines_of_an_old_mac_are_told_of(self, written: Callable[..., Path]) -> None:
        with pytest.raises(
            BadDataset, match="Line 1 of 'photos.csv' is not CSV: a line ends in CR alone, save it with LF or CRLF."
        ):
            read_table(written("path,label\ra.png,hat\rb.png,shoe\r"))

    def test_the_line_of_a_row_is_its_first(self, written: Callable[..., Path]) -> None:
        with pytest.raises(BadDataset, match="Line 4 of 'photos.csv' has no label"):
            read_table(written('path,label\na.png,"x\ny"\nb.png,\n'))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "'photos.csv' names no pictures"),
            ("path,label\n", "'photos.csv' names no pictures"),
            ("image,label\na.png,x\n", r"no column 'path'. Its first line, cut at the commas, names 'image', 'label'"),
            ("path;label\na.png;x\n", r"no column 'path'. Its first line, cut at the commas, names 'path;label'"),
            ("path,split\na.png,test\n", "no column 'label'"),
            ("path,label,label\na.png,x,y\n", "two columns 'label': remove one"),
            ("path,label,labels\na.png,x,y\n", "has the columns 'label' and 'labels': remove one"),
            ("path,label\na.png,x,y\n", r"Line 2 of 'photos.csv' has 3 fields, but the header has 2."),
            ("path,label\na.png,x\nb.png\n", r"Line 3 of 'photos.csv' has 1 field, but the header has 2."),
            ('path,label\na.png,"x"y\n', "Line 2 of 'photos.csv' is not CSV: ',' expected after '\"'"),
            ('path,label\na.png,x\nb.png,"y\n', "Line 3 of 'photos.csv' is not CSV: unexpected end of data"),
            ("path,label\ra.png,x\r", "Line 1 of 'photos.csv' is not CSV"),
            ("path,label\na.png,é\n".encode("latin-1"), "Line 2 of 'photos.csv' is not UTF-8"),
            ("path,label\n".encode("utf-16"), "Line 1 of 'photos.csv' is not UTF-8"),
            ("path,label\na.png\0,x\n", "Line 2 of 'photos.csv' has a path with characters that are no text"),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, written: Callable[..., Path], content: str | bytes, message: str) -> None:
        with pytest.raises(BadDataset, match=message):
            read_table(written(content))


class TestJsonLines:
    def test_rows(self, written: Callable[..., Path]) -> None:
        rows = [
            {"path": "a.png", "label": "hat", "split": None, "group": 7},
            {"path": "./b.png", "label": 3, "group": "g", "size": [1, {"x": 2}]},
        ]
        listing = read_table(written("\n\n".join(map(json.dumps, rows)), "photos.jsonl"))
        assert [(f.name, f.label, f.split, f.group) for f in listing.files] == [
            ("a.png", "hat", None, "7"),
            ("b.png", "3", None, "g"),
        ]
        assert "Left out 1 column of 'photos.jsonl', 'size'" in listing.warnings[0]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("path,label", "is not a JSON object such as"),
            ('["a.png", "x"]', "is not a JSON object such as"),
            ("[" * 60_000, "is not a JSON object such as"),
            ('{"path": "a.png"}', "has no label"),
            ('{"path": "a.png", "label": "  "}', "has no label"),
            ('{"label": "x"}', "has no path"),
            ('{"path": "a.png", "label": ["x", "y"]}', "has a list as its label: call it 'labels' in every row"),
            ('{"path": "a.png", "label": "x", "labels": ["x"]}', "has 'label' and 'labels'; it may have one of them"),
            ('{"path": "a.png", "label": true}', "has a label that is not text"),
            ('{"path": ["a.png"], "label": "x"}', "has a path that is not text"),
            ('{"path": "a.png", "label": "\\ud800"}', "has a label with characters that are no text"),
            ('{"path": "a.png", "path": "b.png", "label": "x"}', "has the key 'path' twice; remove one"),
            ('{"path": "a.png", "label": ' + "9" * 5000 + "}", "is not a JSON object such as"),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, written: Callable[..., Path], line: str, message: str) -> None:
        with pytest.raises(BadDataset, match=f"Line 2 of 'photos.jsonl' {message}"):
            read_table(written('{"path": "b.png", "label": "x"}\n' + line, "photos.jsonl"))


class TestSeveralLabels:
    def test_csv(self, written: Callable[..., Path]) -> None:
        listing = read_table(written("path,labels\na.png, shirt |red\nb.png,\nc.png,shirt|shirt\n"))
        assert [(file.name, file.labels) for file in listing.files] == [
            ("a.png", ("red", "shirt")),
            ("b.png", ()),
            ("c.png", ("shirt",)),
        ]
        assert (listing.multi_label, listing.labels) == (True, ("red", "shirt"))
        assert [file.label for file in listing.files] == ["red|shirt", "", "shirt"]

    def test_json_lines(self, written: Callable[..., Path]) -> None:
        rows = [{"path": "a.png", "labels": ["shirt", " red", 7]}, {"path": "b.png", "labels": []}]
        listing = read_table(written("\n".join(map(json.dumps, rows)), "photos.jsonl"))
        assert [(file.name, file.labels) for file in listing.files] == [("a.png", ("7", "red", "shirt")), ("b.png", ())]
        assert listing.multi_label

    @pytest.mark.parametrize(
        ("content", "name", "message"),
        [
            ("path,labels\na.png,x|\n", "t.csv", "Line 2 of 't.csv' has an empty label among its labels"),
            ("path,labels\na.png,x\n./a.png,x|y\n", "t.csv", "Line 3 of 't.csv' gives 'a.png' the label 'x|y', but line 2"),
            ('{"path": "a.png", "labels": ["x", ""]}', "t.jsonl", "Line 1 of 't.jsonl' has an empty label among its labels"),
            ('{"path": "a.png", "labels": ["x|y"]}', "t.jsonl", "has the label 'x|y'; '|' is what separates labels"),
            ('{"path": "a.png", "labels": [["x"]]}', "t.jsonl", "has a label that is not text"),
            ('{"path": "a.png", "labels": "x"}', "t.jsonl", 'has labels that are no list, such as ["shirt", "red"]; where none'),
            ('{"path": "a.png", "labels": null}', "t.jsonl", "has labels that are no list"),
            (
                '{"path": "a.png", "labels": ["x"]}\n{"path": "b.png", "label": "x"}',
                "t.jsonl",
                "Line 2 of 't.jsonl' has a 'label', but line 1 of 't.jsonl' has 'labels': give every row the one, or the other.",
            ),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, written: Callable[..., Path], content: str, name: str, message: str) -> None:
        with pytest.raises(BadDataset, match=re.escape(message)):
            read_table(written(content, name))


class TestMeaning:
    def test_splits_and_groups(self, written: Callable[..., Path]) -> None:
        listing = read_table(written("path,label,split,group\na.png,x,Test,\nb.png,x,train,g1\nc.png,x,val, g1 \n"))
        assert [(f.split, f.group) for f in listing.files] == [("test", None), ("train", "g1"), ("validation", "g1")]
        assert listing.splits == ("train", "validation", "test")

    def test_an_unknown_split(self, written: Callable[..., Path]) -> None:
        with pytest.raises(
            BadDataset, match="Line 2 of 'photos.csv' has the split 'dev'; it must be one of train, validation, test"
        ):
            read_table(written("path,label,split\na.png,x,dev\n"))

    def test_some_rows_without_a_split(self, written: Callable[..., Path]) -> None:
        with pytest.raises(BadDataset, match="Line 3 of 'photos.csv' has no split, but line 2 of 'photos.csv' has one"):
            read_table(written("path,label,split\na.png,x,test\nb.png,x,\n"))

    def test_unknown_columns_are_named_once(self, written: Callable[..., Path]) -> None:
        (warning,) = read_table(written("path,label,size,kids\na.png,x,1,2\nb.png,y,3,4\n")).warnings
        assert warning.startswith("Left out 2 columns of 'photos.csv', 'kids', 'size'")

    def test_a_picture_named_twice_counts_once(self, written: Callable[..., Path], tmp_path: Path) -> None:
        listing = read_table(written(f"path,label\na.png,x\n./a.png,x\n{tmp_path}/a.png,x\n"))
        assert pairs(listing) == [("a.png", "x")]
        assert listing.warnings == ("Left out 2 rows of 'photos.csv' for naming a picture again.",)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ("a.png,x,train,g\na.png,y,train,g", "gives 'a.png' the label 'y', but line 2 gives it 'x'; a picture has one label"),
            ("a.png,x,train,g\na.png,x,test,g", "gives 'a.png' the split 'test', but line 2 gives it 'train'"),
            ("a.png,x,train,g\na.png,x,train,", "gives 'a.png' the group 'none', but line 2 gives it 'g'"),
        ],
    )
    def test_contradictions(self, written: Callable[..., Path], rows: str, message: str) -> None:
        with pytest.raises(BadDataset, match=f"Line 3 of 'photos.csv' {message}"):
            read_table(written(f"path,label,split,group\n{rows}\n"))

    def test_the_first_wrong_line_is_named_and_the_others_counted(self, written: Callable[..., Path]) -> None:
        with pytest.raises(BadDataset, match=r"^Line 3 of 'photos.csv' has no label. In all, 3 lines are wrong.$"):
            read_table(written("path,label\na.png,x\nb.png,\n,x\nc.png,y,z\n"))

    def test_a_missing_picture_is_listed_but_not_all_of_them(self, written: Callable[..., Path]) -> None:
        assert len(read_table(written("path,label\na.png,x\ngone.png,y\n")).files) == 2
        with pytest.raises(BadDataset, match="None of the 2 files that 'photos.csv' names exists, such as 'gone.png'"):
            read_table(written("path,label\ngone.png,y\n" + "x" * 300 + ".png,y\n"))

    def test_paths_outside_are_the_users_own_matter(self, written: Callable[..., Path], tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        listing = read_table(written(f"path,label\n../a.png,x\n{tmp_path}/b.png,y\n", "sub/photos.csv"))
        assert [(f.path.resolve(), f.label) for f in listing.files] == [(tmp_path / "a.png", "x"), (tmp_path / "b.png", "y")]

    @pytest.mark.parametrize("path", ["../a.png", "x/../../a.png", "/etc/passwd", "x/.."])
    def test_from_an_archive_they_are_refused(self, written: Callable[..., Path], path: str) -> None:
        with pytest.raises(BadDataset, match=f"Line 2 of 'photos.csv' names '{path}', which leaves the dataset"):
            read_table(written(f"path,label\n{path},x\n"), confined=True)


class TestBounds:
    @pytest.mark.parametrize("name", ["photos.csv", "photos.jsonl"])
    def test_an_endless_line(self, written: Callable[..., Path], name: str) -> None:
        with pytest.raises(BadDataset, match=f"ends with line 1 of '{name}' has more than 65,536 bytes"):
            read_table(written("x" * 65_537, name))

    def test_a_quote_that_is_never_closed(self, written: Callable[..., Path]) -> None:
        with pytest.raises(BadDataset, match="row that ends with line 33[0-9] of 'photos.csv' has more than 65,536 bytes"):
            read_table(written('path,label\na.png,"x\n' + ("y" * 199 + "\n") * 1000))

    def test_a_long_table_of_short_rows(self, written: Callable[..., Path]) -> None:
        assert len(read_table(written("path,label\n" + "a.png,x\n" * 20_000)).files) == 1

    def test_rows(self, written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "MAX_ROWS", 2)
        with pytest.raises(BadDataset, match="'photos.csv' has more than 2 rows"):
            read_table(written("path,label\na.png,x\nb.png,x\nc.png,x\n"))

    def test_columns(self, written: Callable[..., Path]) -> None:
        many = {f"c{i}": 0 for i in range(600)}
        with pytest.raises(BadDataset, match="'photos.csv' has more than 1,000 columns"):
            read_table(written("path,label," + ",".join(f"c{i}" for i in range(1001))))
        rows = [{"path": "a.png", "label": "x", **many}, {"path": "b.png", "label": "x", **{f"d{c}": 0 for c in many}}]
        with pytest.raises(BadDataset, match="'photos.jsonl' has more than 1,000 columns"):
            read_table(written("\n".join(map(json.dumps, rows)), "photos.jsonl"))


_words = st.sampled_from(
    [
        b"path",
        b"label",
        b"labels",
        b"|",
        b"split",
        b"group",
        b"a.png",
        b"..",
        b"/",
        b",",
        b'"',
        b"\n",
        b"\r\n",
        b"test",
        b"{",
        b"}",
        b":",
        b"[",
        b"\0",
        b"\xff",
    ]
)


@settings(max_examples=300)
@given(
    st.one_of(st.binary(), st.lists(_words).map(b"".join), st.lists(_words).map(lambda w: b"path,label\n" + b"".join(w))),
    st.booleans(),
)
def test_any_bytes_are_a_listing_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes, confined: bool) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").touch()
    for name in ("any.csv", "any.jsonl"):
        (folder / name).write_bytes(content)
        assert outcome(folder / name, confined)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"path": st.text()},
            optional={
                "label": st.text() | st.integers(),
                "labels": st.lists(st.text()),
                "split": st.text(),
                "group": st.none() | st.text(),
                "x": st.floats(),
            },
        ),
        max_size=5,
    )
)
def test_any_json_rows_are_a_listing_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert outcome(path, confined=False)
