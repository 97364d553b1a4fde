"""core.places: what the name of a dataset means, and whether it may be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyasd.core.errors import InvalidArgument
from eyasd.core.places import Place, check_allowed, is_remote, place_of, real_roots


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("/srv/photos", Place("file", "/srv/photos")), ("/srv/s3:/x", Place("file", "/srv/s3:/x")),
        ("file:///srv/my%20photos", Place("file", "/srv/my photos")), ("FILE://localhost/srv", Place("file", "/srv")),
        ("s3://photos", Place("s3", "photos")), ("s3://photos/", Place("s3", "photos")),
        ("S3://my.photos/a b/ü#?%25.zip", Place("s3", "my.photos/a b/ü#?%25.zip")), ("gs://a_b-c/x/", Place("gs", "a_b-c/x")),
        ("az://photos/x/y", Place("az", "photos/x/y")),
    ],
)  # fmt: skip
def test_a_name_means_a_place(name: str, place: Place) -> None:
    assert place_of(name) == place
    assert place_of(str(place)) == place
    assert is_remote(name) is (place.scheme != "file")


def test_a_place_in_a_bucket_has_a_bucket_and_a_key() -> None:
    place = place_of("s3://photos/a/b.zip")
    assert (place.bucket, place.key) == ("s3://photos", "a/b.zip")
    assert (place_of("s3://photos").key, str(place)) == ("", "s3://photos/a/b.zip")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photos", "'photos' is not an absolute path: begin it with '/', or with s3://"), ("", "is not an absolute path"),
        ("s3:/photos", "is not an absolute path"), ("~/photos", "is not an absolute path"),
        ("https://example.org/x.zip", "begins with https://, which is not read"), ("memory://x", "begins with memory://"),
        ("s3://", "names no bucket"), ("s3:///x", "names no bucket"), ("s3://Photos/x", "names no bucket"),
        ("s3://photos:80/x", "names no bucket"), ("s3://photos;x/y", "names no bucket"), ("s3://a", "names no bucket"),
        ("s3://photos/../x", "has a part that no folder can be called"), ("s3://photos/a//b", "has a part that no folder"),
        ("s3://photos/./b", "has a part"), ("s3://photos/a\nb", "has a part"), ("s3://photos/a\0b", "has a part"),
        ("file://host/x", "is no file of the trainer's machine"), ("file:///x?y", "is no file"), ("file:///x#y", "is no file"),
        ("file://", "is no file"), ("file://[x", "is no file"), ("file://\u2100/x", "is no file"),
        ("/" + "a/" * 2_048, "has 4,097 characters; no path or key has more than 4,096"), ("s3://a/" + "a" * 5_000, "has 5,00"),
    ],
)  # fmt: skip
def test_other_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        place_of(name)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidArgument, match="Leave the user out") as caught:
        place_of("s3://key:hunter2@photos/x")
    assert "hunter2" not in caught.value.message


class TestRoots:
    def test_none_allows_any_place(self) -> None:
        check_allowed(place_of("/etc"), ())
        check_allowed(place_of("s3://anything"), ())

    @pytest.mark.parametrize("name", ["", "/inner", "/inner/../inner", "/absent/x.csv"])
    def test_what_lies_below_a_root_is_allowed(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "root" / "inner").mkdir(parents=True)
        check_allowed(place_of(f"{tmp_path}/root{name}"), [f"{tmp_path}/root/"])

    @pytest.mark.parametrize("name", ["", "/rooted", "/root/../x", "/root/inner/link/x", "/root/absent/../../x", "/x\0"])
    def test_nothing_else_is_and_it_is_not_said_whether_it_exists(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "root" / "inner").mkdir(parents=True)
        (tmp_path / "root" / "inner" / "link").symlink_to(tmp_path)
        with pytest.raises(InvalidArgument, match="is outside of what this trainer may read"):
            check_allowed(place_of(f"{tmp_path}{name}"), [f"{tmp_path}/root"])

    def test_a_root_may_be_a_link_itself(self, tmp_path: Path) -> None:
        (tmp_path / "disk" / "photos").mkdir(parents=True)
        (tmp_path / "root").symlink_to(tmp_path / "disk")
        check_allowed(place_of(f"{tmp_path}/root/photos"), [f"{tmp_path}/root"])
        assert real_roots([f"{tmp_path}/root", "s3://photos"]) == (f"{tmp_path}/disk",)

    @pytest.mark.parametrize(("name", "allowed"), [
        ("s3://photos/team", True), ("s3://photos/team/x", True), ("s3://photos/team2", False), ("s3://photos", False),
        ("gs://photos/team", False), ("s3://photos2/team", False), ("/photos/team", False),
    ])  # fmt: skip
    def test_buckets(self, name: str, allowed: bool) -> None:
        if allowed:
            check_allowed(place_of(name), ["s3://photos/team/"])
        else:
            with pytest.raises(InvalidArgument, match="outside"):
                check_allowed(place_of(name), ["s3://photos/team/"])
