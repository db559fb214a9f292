"""A gRPC proxy before a database: found by its URL, and when it is gone, one line."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.trial import TrialState

from mpsearch.core.errors import ConfigError, RunDirectoryError
from mpsearch.study.grpc_proxy import serve_proxy
from mpsearch.study.storage import end_of, end_study, open_storage, open_study, storage_errors
from tests.servers import proxy


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("grpc://", r"the URL of a proxy is grpc://HOST:PORT"),
        ("grpc://host:99999", "Port out of range"),
        ("grpc://host/database", "without user or database"),
        ("grpc://me:s3cret@host:1", "without user or database"),
    ],
)
def test_a_wrong_url_is_one_line_with_a_right_one(wrong: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"storage: '.*' cannot be opened \(.*{why}.*\); give a URL such as grpc://HOST:13000") as caught:
        open_storage(wrong)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_where_nobody_answers_the_line_says_what_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc")
    monkeypatch.setattr("mpsearch.study.grpc_proxy._PATIENCE", 0.2)
    with socket.socket() as taken:  # bound, and listened on by nobody
        taken.bind(("localhost", 0))
        with pytest.raises(ConfigError, match=r"no proxy answers there .*start the proxy there: mpsearch proxy --storage postgresql"):
            open_storage(f"grpc://localhost:{taken.getsockname()[1]}")


def test_a_port_that_is_taken_is_one_line() -> None:
    pytest.importorskip("grpc")
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"proxy: localhost:{port} cannot be listened on \(.*in use.*\); give another --port or --host"
        ):
            serve_proxy(optuna.storages.InMemoryStorage(), "localhost", port, 1)


def test_what_a_proxy_keeps_is_in_the_database_and_a_new_proxy_goes_on(postgresql: str) -> None:
    with proxy(postgresql) as (url, process):
        study = open_study(url, "mine")
        study.ask().set_user_attr("bits", "w4a8")
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        with pytest.raises(RunDirectoryError, match=r"storage 'grpc://localhost:\d+': the proxy says unavailable: .*; mend that") as caught:
            ended(study, url)
        assert "\n" not in str(caught.value)
    with proxy(postgresql) as (url, process):
        study = open_study(url, "mine")
        assert study.trials[0].user_attrs == {"bits": "w4a8"}
        end_study(study, "enough")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert end_of(open_study(postgresql, "mine")) == "enough"


def ended(study: optuna.Study, url: str) -> None:
    with storage_errors(url):
        end_study(study, "enough")


@pytest.mark.slow
def test_more_workers_ask_at_a_time_than_a_proxy_has_threads(postgresql: str) -> None:
    with proxy(postgresql, "--threads", "2") as (url, _):
        open_study(url, "mine")

        def work() -> None:
            study = open_study(url, "mine")
            for _ in range(3):
                study.tell(study.ask(), [1.0, 1.0])

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(work) for _ in range(8)]:
                done.result(120)
        trials = open_study(url, "mine").trials
    assert [trial.number for trial in trials] == list(range(24))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
