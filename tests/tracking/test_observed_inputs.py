"""Observed inputs, by real processes: what was read and not declared is recorded, and nothing else is disturbed."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from blake3 import blake3

import lineart
from lineart.lineage import UntrackedInputs, untracked_count
from lineart.lineage.untracked import unobserved_runs
from lineart.tracking.observed_inputs import observed
from lineart.tracking.recovery import recover_project
from lineart.tracking.settings import find_run_environment, find_settings
from lineart.tracking.workspace import Workspace

QUIET = {"console": "off"} | dict.fromkeys(["system", "git", "packages", "environment", "save_code"], False)
HEAD = f"""
import os, sys
import lineart
QUIET = {QUIET!r}
def start(roots=("data/",), **more):
    return lineart.init(project="team/p", id="r", settings={{**QUIET, "observe": list(roots)}}, **more)
"""


MAPPED = """import ctypes
    libc = ctypes.CDLL(None)
    libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 4]
    descriptor = libc.open(b'data/a.csv', 0)
    libc.mmap(None, 2, 1, 2, descriptor, 0)
    os.close(descriptor)"""


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data in it."""
    place = tmp_path / "work"
    (place / "data" / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (place / "data" / f"{name}.csv").write_text(f"{name}\n", encoding="utf-8")
    (place / "elsewhere.csv").write_text("no\n", encoding="utf-8")
    monkeypatch.chdir(place)
    return place / "data"


def run_script(code: str, *arguments: str, check: bool = True) -> UntrackedInputs:
    """What was recorded of the run of a script."""
    script = Path("script.py")
    script.write_text(HEAD + code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or not check, done.stderr
    workspace = Workspace.open(find_settings(project="team/p"))
    recover_project(workspace, workspace.project_name)  # as the next run would
    runs = lineart.Api().runs("team/p")
    assert len(runs) == 1
    return runs[0].untracked_inputs


def uris(found: UntrackedInputs) -> list[str]:
    assert found.is_observed
    return [one.uri for one in found.listed]


def test_run_that_does_not_observe_says_so() -> None:
    found = run_script("with lineart.init(project='team/p', settings=QUIET): open('data/a.csv').read()")
    assert not found.is_observed
    assert found.count == 0


def test_files_below_the_roots_are_recorded_with_size_and_digest_and_others_are_not() -> None:
    found = run_script("""
with start():
    open("data/a.csv").read(); open("data/a.csv", "rb").read()
    open(os.path.abspath("data/sub/c.csv")).read()
    open("elsewhere.csv").read()
    open("data/../data/sub/../b.csv").read()
""")
    assert uris(found) == ["data/a.csv", "data/b.csv", "data/sub/c.csv"]
    assert (found.listed[0].size_bytes, found.listed[0].digest) == (2, blake3(b"a\n").hexdigest())


@pytest.mark.parametrize(
    "reading",
    [
        "os.close(os.open('data/a.csv', os.O_RDONLY))",
        "__import__('pathlib').Path('data/a.csv').read_bytes()",
        "os.chdir('data'); open('a.csv').read(); os.chdir('..')",
        "open(b'data/a.csv').read()",
        "__import__('shutil').copy('data/a.csv', 'copy.csv')",
        "__import__('pandas').read_csv('data/a.csv')",
        "__import__('numpy').fromfile('data/a.csv', dtype='u1')",
        "__import__('numpy').memmap('data/a.csv', dtype='u1', mode='r')",
        "__import__('fsspec').open('data/a.csv').open().read()",
        "__import__('sqlite3').connect('data/a.csv').close()",
        "__import__('sqlite3').connect(__import__('pathlib').Path('data/a.csv')).close()",
        "__import__('sqlite3').connect('file:data/a.csv?mode=ro', uri=True).close()",
        "os.symlink('data', 'link'); open('link/a.csv').read()",
        "os.symlink('sub', 'data/link'); os.symlink(os.path.abspath('data'), 'link'); open('link/sub/../a.csv').read()",
        "__import__('subprocess').run(['true'], stdin=open('data/a.csv'))",
        "kept = __import__('ctypes').CDLL(None).open(b'data/a.csv', 0)",  # native, and open when the run ends
        MAPPED,
    ],
)
def test_ways_of_reading_that_are_seen(reading: str) -> None:
    assert uris(run_script(f"with start():\n    {reading}\n")) == ["data/a.csv"]


def test_what_the_run_wrote_before_is_no_input() -> None:
    found = run_script("""
with start():
    open("data/made.csv", "w").write("x"); open("data/made.csv").read()
    open("tmp", "w").write("y"); os.replace("tmp", "data/renamed.csv"); open("data/renamed.csv").read()
    open("data/a.csv").read(); open("data/a.csv", "w").write("changed after it was read")
""")
    assert uris(found) == ["data/a.csv"]
    assert found.listed[0].digest is None  # what was read is there no more
    assert found.listed[0].size_bytes == 2


@pytest.mark.parametrize("module", ["sqlite3", "duckdb"])
def test_database_that_the_run_made_and_holds_open_is_no_input(module: str) -> None:
    found = run_script(f"""
import {module} as native
with start():
    connection = native.connect("data/made.db")
    connection.execute("create table t as select 1 as x")
    connection.commit()
    open("data/a.csv").read()
""")
    assert uris(found) == ["data/a.csv"]


def test_database_that_was_there_is_an_input(data: Path) -> None:
    duckdb.connect(str(data / "there.db")).execute("create table t as select 1 as x").close()
    os.utime(data / "there.db", ns=(1, 1))
    found = run_script("""
import duckdb
with start():
    connection = duckdb.connect("data/there.db")
    connection.execute("select * from t")
""")
    assert uris(found) == ["data/there.db"]


def test_database_that_is_no_path_ends_no_observation() -> None:
    found = run_script("""
import contextlib, sqlite3
with start():
    for odd in (5, None):
        with contextlib.suppress(TypeError): sqlite3.connect(odd)
    sqlite3.connect(":memory:").close()
    sqlite3.connect("file:data/a.csv?mode=memory", uri=True).close()
    open("data/b.csv").read()
""")
    assert uris(found) == ["data/b.csv"]
    assert found.omitted == 0


def test_what_was_written_through_a_link_is_no_input() -> None:
    found = run_script("""
os.symlink("data", "link")
with start():
    open("link/made.csv", "w").write("x"); open("data/made.csv").read()
    open("tmp", "w").write("y"); os.replace("tmp", "link/renamed.csv"); open("data/renamed.csv").read()
""")
    assert uris(found) == []


LOG_DATA = """
with lineart.init(project="team/p", settings=QUIET | {"observe": ["data/"]}) as run:
    raw = lineart.Artifact("raw", type="dataset")
    raw.add_dir("data")
    run.log_artifact(raw)
"""


def test_what_lineart_reads_itself_is_no_input() -> None:
    assert uris(run_script(LOG_DATA)) == []


def test_files_of_used_versions_are_tracked_until_they_are_changed() -> None:
    with lineart.init(project="team/other", settings=QUIET) as run:
        raw = lineart.Artifact("raw", type="dataset")
        raw.add_dir("data")
        run.log_artifact(raw)
    found = run_script("""
import pathlib
pathlib.Path("data/new.csv").write_text("new")
with start(["data/", "got/"]) as run:
    run.use_artifact("team/other/raw:latest").download("got")
    open("got/a.csv").read()
    os.unlink("got/a.csv")  # as of a temporary folder
    open("data/b.csv").read()  # the same bytes in another place
    os.system("echo more >> got/sub/c.csv")
    open("got/sub/c.csv").read()
    open("data/new.csv").read()
""")
    assert uris(found) == ["data/new.csv", "got/sub/c.csv"]


def test_version_that_was_downloaded_and_not_used_is_untracked() -> None:
    with lineart.init(project="team/other", settings=QUIET) as run:
        run.log_artifact("data", name="raw", type="dataset")
    found = run_script("""
with start(["got/"]):
    lineart.Api().artifact("team/other/raw:latest").download("got")
    open("got/a.csv").read()
""")
    assert uris(found) == ["got/a.csv"]


def test_references_of_used_versions_are_tracked(data: Path) -> None:
    with lineart.init(project="team/other", settings=QUIET) as run:
        raw = lineart.Artifact("raw", type="dataset")
        raw.add_reference(f"file://{data}/a.csv")
        run.log_artifact(raw)
    found = run_script("""
with start() as run:
    run.use_artifact("team/other/raw:latest")
    open("data/a.csv").read(); open("data/b.csv").read()
""")
    assert uris(found) == ["data/b.csv"]


def test_killed_run_has_what_it_read() -> None:
    found = run_script(
        "start(); open('data/a.csv').read(); os.kill(os.getpid(), 9); open('data/b.csv').read()", check=False
    )
    assert uris(found) == ["data/a.csv"]
    assert found.listed[0].digest == blake3(b"a\n").hexdigest()


def test_forks_are_seen_also_when_they_are_killed_and_what_one_writes_another_may_read() -> None:
    found = run_script("""
def child(work):
    if (pid := os.fork()) == 0:
        work(); os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
with start():
    child(lambda: open("data/a.csv").read())
    child(lambda: open("data/made.csv", "w").close())
    child(lambda: open("data/made.csv").read())
""")
    assert uris(found) == ["data/a.csv"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_have_the_run_are_seen(method: str) -> None:
    found = run_script(
        f"""
import multiprocessing
def work(run, name):
    open(name).read()
    run.log({{"read": 1}})
if __name__ == "__main__":
    with start() as run:
        context = multiprocessing.get_context({method!r})
        workers = [context.Process(target=work, args=(run, f"data/{{name}}.csv")) for name in "ab"]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0]
"""
    )
    assert uris(found) == ["data/a.csv", "data/b.csv"]


def test_data_loader_workers_are_seen() -> None:
    pytest.importorskip("torch")
    found = run_script("""
import torch
class Files(torch.utils.data.Dataset):
    def __len__(self): return 2
    def __getitem__(self, at): return len(open(f"data/{'ab'[at]}.csv").read())
with start():
    assert sum(int(x) for x in torch.utils.data.DataLoader(Files(), num_workers=2)) == 4
""")
    assert uris(found) == ["data/a.csv", "data/b.csv"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def do_CONNECT(self) -> None:
        """Be the proxy, and then who is behind it."""
        self.send_response(200)
        self.end_headers()
        self.close_connection = False

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(data: Path) -> Iterator[str]:
    found = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *given: _Quiet(*given, directory=str(data))
    )
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.mark.parametrize(
    "reading",
    [
        "__import__('urllib.request').request.urlopen(url).read()",
        "__import__('requests').get(url)",
        "__import__('pandas').read_csv(url)",
        "__import__('fsspec').open(url).open().read()",
        "fs = __import__('fsspec').filesystem('http'); fs.cat_file(url)",
        "fs = __import__('fsspec').filesystem('http'); fs.get_file(url, 'data/got.csv'); open('data/got.csv').read()",
    ],
)
def test_urls_are_recorded_without_their_secrets(server: str, reading: str) -> None:
    found = run_script(
        f"url = sys.argv[1]\nwith start([sys.argv[2], 'data/']):\n    {reading}\n",
        f"{server}/a.csv?token=do-not-show",
        server,
    )
    assert uris(found) == [f"{server}/a.csv"]
    assert found.listed[0].digest is None


def test_urls_outside_of_the_roots_are_not_recorded(server: str) -> None:
    found = run_script(
        "import urllib.request\nwith start([sys.argv[1] + '/sub']): urllib.request.urlopen(sys.argv[1] + '/a.csv')",
        server,
    )
    assert uris(found) == []


@pytest.mark.on_disk  # its S3 service is the place of the data, and AWS_… can name one only
@pytest.mark.parametrize("style", ["path", "virtual"])
def test_object_of_an_s3_service_elsewhere_is_known_by_its_bucket(
    server: str, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3")
    Path("data/raw").mkdir()
    Path("data/raw/x.csv").write_text("x\n")
    Path("data/x.csv").write_text("x\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.replace("127.0.0.1", "localhost"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    found = run_script(
        """
import boto3, socket
from botocore.config import Config
plain = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: plain("127.0.0.1", *rest, **more)
with start(["s3://raw/"]):
    client = boto3.client("s3", config=Config(s3={"addressing_style": sys.argv[1]}))
    client.get_object(Bucket="raw", Key="x.csv")["Body"].read()
    try: client.get_object(Bucket="other", Key="x.csv")["Body"].read()
    except client.exceptions.ClientError: pass
""",
        style,
    )
    assert uris(found) == ["s3://raw/x.csv"]


def test_url_behind_a_proxy_that_tunnels_is_that_of_the_origin(server: str) -> None:
    found = run_script(
        """
import http.client
with start(["http://data.example/"]):
    proxy = http.client.HTTPConnection(sys.argv[1])
    proxy.set_tunnel("data.example", 80)
    proxy.request("GET", "/a.csv")
    assert proxy.getresponse().read() == b"a\\n"
""",
        server.removeprefix("http://"),
    )
    assert uris(found) == ["http://data.example/a.csv"]


def test_too_many_files_are_counted_and_said(data: Path) -> None:
    for number in range(1100):
        (data / f"{number}.txt").write_text(str(number), encoding="utf-8")
    found = run_script("""
with start():
    for number in range(1100): open(f"data/{number}.txt").read()
""")
    assert (len(found.listed), found.omitted, found.count) == (1000, 100, 1100)


def test_process_that_has_noted_enough_counts_on() -> None:
    found = run_script("""
from lineart.tracking import observing
observing.MOST_FILES = 1
with start():
    for name in ("a", "b", "sub/c"): open(f"data/{name}.csv").read()
""")
    assert (len(found.listed), found.omitted) == (1, 2)


def test_fault_in_the_hook_ends_the_observation_and_not_the_work() -> None:
    found = run_script("""
import stat
from lineart.tracking import observing
with start():
    observing.stat.S_ISREG = None
    assert open("data/a.csv").read() == "a\\n"
    assert open("data/b.csv").read() == "b\\n"
    from importlib import reload
    reload(stat)
""")
    assert uris(found) == []
    assert found.omitted >= 1  # that something is missing is known


def test_file_of_the_user_that_got_the_number_of_ours_gets_none_of_our_lines(data: Path) -> None:
    found = run_script("""
with start():
    open("data/a.csv").read()
    child = os.fork()
    if child == 0:  # as a daemon does
        os.closerange(3, 256)
        kept = [os.open(f"mine{number}", os.O_RDWR | os.O_CREAT) for number in range(20)]
        open("data/b.csv").read()
        os._exit(0)
    os.waitpid(child, 0)
    os.closerange(3, 256)
    kept = [os.open(f"ours{number}", os.O_RDWR | os.O_CREAT) for number in range(20)]
    open("data/sub/c.csv").read()
    sys.stdout.flush()
    seen = lineart.tracking.observing._observing[0].stop()
    assert b"c.csv" in seen and b"b.csv" in seen, seen
    for number in kept: os.fstat(number)  # none of them was closed
    os._exit(0)
""")
    assert uris(found) == ["data/a.csv", "data/b.csv", "data/sub/c.csv"]
    assert [
        file.name
        for file in data.parent.iterdir()
        if file.stem[:4] in ("mine", "ours") and file.stat().st_size
    ] == []


def test_root_that_is_the_working_folder_leaves_out_code_and_store() -> None:
    Path("module.py").write_text("text = open('data/a.csv').read()\n", encoding="utf-8")
    found = run_script("""
sys.path.insert(0, "")
with start(["."]) as run:
    import module
    run.log({"a": 1})
""")
    assert uris(found) == ["data/a.csv"]


def test_names_that_are_not_unicode_are_recorded_escaped() -> None:
    Path(os.fsdecode(b"data/\xff.csv")).write_text("x", encoding="utf-8")
    assert uris(run_script("with start(): open(b'data/\\xff.csv').read()")) == ["data/\\xff.csv"]


def test_two_runs_of_a_process_have_what_each_read() -> None:
    script = """
for name in "ab":
    with lineart.init(project="team/p", id=name, settings={**QUIET, "observe": ["data/"]}):
        open(f"data/{name}.csv").read()
open("data/sub/c.csv").read()
"""
    Path("two.py").write_text(HEAD + script, encoding="utf-8")
    subprocess.run([sys.executable, "two.py"], check=True)
    found = {run.id: uris(run.untracked_inputs) for run in lineart.Api().runs("team/p")}
    assert found == {"a": ["data/a.csv"], "b": ["data/b.csv"]}


def test_counts_of_a_version_and_of_all_behind_it() -> None:
    script = """
for number, source in enumerate([None, "m0", "m1"]):
    settings = {**QUIET, **({"observe": ["data/"]} if number != 1 else {})}
    with lineart.init(project="team/p", id=f"r{number}", settings=settings) as run:
        if source: run.use_artifact(f"{source}:latest")
        open("data/a.csv").read()
        if number == 0: open("data/b.csv").read()
        model = lineart.Artifact(f"m{number}", type="model")
        with model.new_file("w") as file: file.write(str(number))
        run.log_artifact(model)
        if number == 2: run.link_artifact(model, "linked")
"""
    Path("chain.py").write_text(HEAD + script, encoding="utf-8")
    subprocess.run([sys.executable, "chain.py"], check=True)
    catalog = Workspace.open(find_settings(project="team/p")).catalog()
    counts = {
        name: [untracked_count(catalog, f"team/p/{name}:v0", upstream=up) for up in (False, True)]
        for name in ("m0", "m1", "m2", "linked")
    }
    assert counts == {"m0": [2, 2], "m1": [0, 2], "m2": [1, 3], "linked": [1, 3]}
    assert unobserved_runs(catalog, "team/p/m2:v0", upstream=True) == ["team/p/r1"]
    assert unobserved_runs(catalog, "team/p/m2:v0", upstream=False) == []
    catalog.close()


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b'{"t":1}', b'{"t":"x","read":"data/a"}', b'{"pid":1,"more":"x"}', b"1", b'{"roots":1}'],
)
def test_forged_lines_are_passed_over(line: bytes) -> None:
    good = b'{"roots":["data/"],"home":"/w"}\n'
    found = observed([good + line + b'\n{"t":1,"read":"/w/data/a","size":1,"mtime":1}\n{"t":2,"re'])
    assert found is not None
    assert [read.path for read in found.reads] == ["/w/data/a"]


def test_setting_is_taken_from_arguments_environment_and_file(tmp_path: Path) -> None:
    assert lineart.Settings(observe="data").observe == ("data",)
    assert lineart.Settings(observe=[Path("x"), "s3://raw/"]).observe == ("x", "s3://raw/")
    said = find_run_environment({"LINEART_OBSERVE": "data/, s3://raw/"}).settings
    assert said["observe"] == ["data/", "s3://raw/"]
    Path("lineart.toml").write_text('[run]\nobserve = ["data/", "s3://raw/"]\n', encoding="utf-8")
    assert find_settings(folder=Path("data").absolute()).run["observe"] == [f"{Path.cwd()}/data", "s3://raw/"]


@pytest.mark.parametrize("roots", [1, [1], [""], {"a": "b"}, [None]])
def test_roots_that_are_none_are_refused(roots: object) -> None:
    with pytest.raises(lineart.UsageError, match="observe"):
        lineart.Settings(observe=roots)
