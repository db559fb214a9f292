"""A bucket of a real server of S3, and what goes wrong with one in one line: its URL, its credentials, its room, its network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.study.bucket import Bucket
from mpsearch.study.shared_files import SharedFiles


@pytest.mark.parametrize(
    "wrong", ["s3://", "s3:///prefix", "s3://Capital/x", "s3://key:s3cret@bucket/x", "s3://bucket/a b", "s3://bucket?x=1"]
)
def test_a_place_that_is_no_bucket_is_one_line(wrong: str) -> None:
    with pytest.raises(
        ConfigError, match=r"artifacts: '.*' is no bucket; write it as s3://bucket/prefix, and leave credentials to"
    ) as caught:
        SharedFiles(wrong)
    assert "s3cret" not in str(caught.value)


def test_a_prefix_keeps_two_places_of_a_bucket_apart(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    one, below, whole = Bucket(bucket), Bucket(f"{bucket}/below/"), Bucket("s3://studies")
    one.write("a", tmp_path / "file")
    below.write("b", tmp_path / "file")
    assert (one.names(), below.names()) == ({"a"}, {"b"})
    assert not {"a", "b"} & whole.names()
    assert (one.read("b"), below.read("b")) == (None, b"x")


def test_a_large_file_travels_in_parts(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 2**16)  # 16 MiB: boto3 sends more than 8 in parts
    store = SharedFiles(bucket)
    assert store.fetch(store.put(tmp_path / "file"), tmp_path / "theirs")
    assert (tmp_path / "theirs").read_bytes() == (tmp_path / "file").read_bytes()


def refused(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ConfigError, match=rf"artifacts: {place} cannot be written \(.*{why}.*\); make room there, or give") as caught:
        SharedFiles(place).put(tmp_path / "file")
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_one_line(bucket: str, tmp_path: Path) -> None:
    refused(tmp_path, "s3://other/x", "NoSuchBucket.*does not exist")


def test_missing_credentials_are_one_line(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    refused(tmp_path, bucket, "Unable to locate credentials")


@pytest.mark.parametrize("action", ["fetch", "put", "names"])
def test_a_server_out_of_reach_is_one_line(action: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("mpsearch.study.bucket._ATTEMPTS", 1)
    if action == "put":
        refused(tmp_path, bucket, "Could not connect to the endpoint URL")
        return
    with pytest.raises(ConfigError, match=rf"artifacts: {bucket} cannot be read \(Could not connect to the endpoint URL.*\); mend that"):
        SharedFiles(bucket).fetch("a" * 64, tmp_path / "out") if action == "fetch" else SharedFiles(bucket).names()


FULL = b"<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free drive threshold.</Message></Error>"


class Full(BaseHTTPRequestHandler):
    """What a MinIO without room answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_PUT(self) -> None:
        self.send_response_only(100)
        self.end_headers()
        self._answer(507, FULL)
        self.close_connection = True

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing; the test says what is wrong."""


@contextmanager
def full() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Full)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_without_room_is_one_line(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpsearch.study.bucket._ATTEMPTS", 1)
    with full() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        refused(tmp_path, bucket, "XMinioStorageFull")
