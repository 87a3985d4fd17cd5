"""What can be shown, one function each: it prints what happens, its figures last, and says whether all held."""

from collections.abc import Sequence
from pathlib import Path

from tests.chaos.acts import Hit
from tests.chaos.audit import Verdict, complain, counts, figures
from tests.chaos.jobs import GREEDY, PRICES, shape
from tests.chaos.plan import Act, Deed, plan
from tests.chaos.programs import Part
from tests.chaos.site import Layout
from tests.chaos.stage import FAULTS, Stage, staged, tell_recoveries

WORK = shape(iterations=2, children=4, trees=40, harvest=16, timeout_s=10)
POOL = (
    *("--recipe", "self-instruct", "--set", "rounds.most=12", "--set", "rounds.prompts=8"),
    *("--set", "endpoints.default.timeout_s=10"),
)
WIDTH = 40
_RECOVERY_S = 15.0


def pools(folder: Path, *, kills: int, seed: int) -> bool:
    """The same for runs that widen a pool instead of growing trees."""
    return chaos(folder, kills=kills, seed=seed, work=POOL)


def chaos(folder: Path, *, kills: int, seed: int, work: Sequence[str] = WORK) -> bool:
    """Kills and other faults by a seeded plan, runs one after another until it is used up; then the laws."""
    faults = (*FAULTS, "--wrong-usage-share", "0.02", "--hostile-share", "0.005")
    layout = Layout(faults=faults, chaos=f"seed={seed},share=0.03,seconds=1.5,copies=2")
    with staged(folder, layout, seed, width=WIDTH, options=(*work, *GREEDY, *PRICES)) as stage:
        stage.keep_busy()
        stage.until_spent(stage.jobs.all[0], 1)
        stage.play(plan(kills, seed), busy=stage.keep_busy)
        stage.say(f"the plan is used up; waiting for {', '.join(job.name for job in stage.jobs.open) or 'nobody'}")
        verdict = stage.conclude()
        complain(verdict)
        print(f"runs={len(stage.jobs.all)} commands_given_again={_again(stage)} {figures(verdict)}")
        return last_line(stage, verdict)


def _again(stage: Stage) -> int:
    return sum(len(job.codes) - 1 for job in stage.jobs.all)


def last_line(stage: Stage, verdict: Verdict) -> bool:
    recovered_s = tell_recoveries(stage.recoveries())
    print(f"kills={stage.saboteur.kills} {counts(verdict)} recovered_s={recovered_s:.1f}", flush=True)
    return verdict.holds


def caps(folder: Path, *, kills: int, seed: int) -> bool:
    """Eight workers, kills and retries, a cap of 500 calls and then one of money: never above, exit 3, data set."""
    layout = Layout(workers=8, slots=4, faults=FAULTS, chaos=f"seed={seed},share=0.02,seconds=0.5,copies=2")
    with staged(folder, layout, seed, width=WIDTH, options=(*WORK, *PRICES), good=(3,)) as stage:
        over = _capped(stage, "calls", ("--max-calls", "500"), plan(kills, seed))
        over += _capped(stage, "money", ("--max-usd", "0.06"), plan(kills, seed + 1))
        verdict = stage.conclude(ends=("stopped",))
        for job in stage.jobs.all:
            if not job.dataset.exists() or not job.dataset.stat().st_size:
                verdict.blame("lost", f"{job.name}: no data set")
        if over:
            verdict.blame("overspent", "a cap was passed by the endpoint's own count", over)
        complain(verdict)
        print(f"commands_given_again={_again(stage)} {figures(verdict)}")
        return last_line(stage, verdict)


def _capped(stage: Stage, name: str, cap: tuple[str, str], acts: list[Act]) -> int:
    """1 if the endpoint was paid more than the cap while this run went on."""
    before = stage.stats()
    job = stage.begin(name, *cap)
    stage.until_spent(job, 20)
    stage.play(acts, busy=lambda: not job.over)
    stage.saboteur.settle()
    stage.until(lambda: job.over, f"{name} has ended with code 3")
    after = stage.stats()
    calls = after["paid_total"] - before["paid_total"]
    usd = sum((after[kind] - before[kind]) * price / 1e6 for kind, price in (("tokens_in", 0.15), ("tokens_out", 0.6)))
    codes = ",".join(map(str, job.codes))
    print(f"{name}: cap {cap[1]}, the endpoint was paid {calls} calls, {usd:.4f} USD; exit codes {codes}", flush=True)
    return int((calls if name == "calls" else usd) > float(cap[1]))


def outage(folder: Path, *, seed: int, dead_s: float = 120.0) -> bool:
    """An endpoint dead for two minutes, a broker wiped three times, a database restarted: each run completes."""
    layout = Layout(faults=("--latency", "300"))
    with staged(folder, layout, seed, width=WIDTH, options=(*WORK, *GREEDY, *PRICES)) as stage:
        waited = _dead_endpoint(stage, dead_s)
        wiped_s = _wiped(stage)
        restarted_s = _restarted(stage)
        verdict = stage.conclude()
        complain(verdict)
        print(figures(verdict))
        held = verdict.holds and waited["burned"] == 0 and waited["said"] == 1 and restarted_s <= _RECOVERY_S
        print(
            f"endpoint_dead_s={dead_s:.0f} said_so={waited['said']} attempts_burned={waited['burned']} "
            f"endpoint_recovered_s={waited['back_s']:.1f} wiped_recovered_s={wiped_s:.1f} "
            f"postgres_recovered_s={restarted_s:.1f} {counts(verdict)}",
            flush=True,
        )
        return held


_SPENT = "SELECT coalesce(sum(attempts), 0) FROM tasks WHERE applied_at IS NULL AND state = 'ready'"
_FAILED = "SELECT count(*) FROM tasks WHERE state = 'failed'"


def _dead_endpoint(stage: Stage, dead_s: float) -> dict[str, float]:
    """`burned`: attempts that waiting tasks have used up, and tasks failed. `said`: whether the status says why."""
    site = stage.site
    job = stage.begin("dead-endpoint")
    stage.until_spent(job, 100)
    site.endpoint.away = True
    stage.saboteur.do(Act(at_s=0, deed=Deed.KILL, part=Part.ENDPOINT))
    stage.rest(dead_s * 0.9)
    said = int(site.house.status(job.name)["waiting"] is not None)
    stage.rest(dead_s * 0.1)
    burned = (site.number(_SPENT) or 0) + (site.number(_FAILED) or 0)
    alive = site.number("SELECT count(*) FROM runs WHERE name = :name AND status = 'running'", name=job.name)
    stage.say(f"the endpoint is back; the run is {'going on' if alive else 'not running'}, {burned} attempts burned")
    site.endpoint.away = False
    back_s = _next_progress(stage, _moment(stage))
    stage.until(lambda: job.over, "the run that had no endpoint has ended")
    return {"burned": burned + (0 if alive else 1), "said": said, "back_s": back_s}


def _moment(stage: Stage) -> float:
    now = stage.watch.clock()
    stage.look()
    return now


def _next_progress(stage: Stage, at: float) -> float:
    """Seconds from a moment to the next progress, waited for."""
    stage.until(lambda: stage.watch.recovery(at) is not None, "progress", 120)
    return stage.watch.recovery(at) or 0.0


def _wiped(stage: Stage) -> float:
    """The longest time to the next progress after one of three FLUSHALLs."""
    job = stage.begin("wiped")
    longest_s = 0.0
    for spent in (100, 250, 400):
        stage.until_spent(job, spent)
        stage.saboteur.do(Act(at_s=0, deed=Deed.WIPE, part=Part.VALKEY))
        at = _moment(stage)
        longest_s = max(longest_s, 1.0 + _next_progress(stage, at + 1.0))
    stage.until(lambda: job.over, "the run whose broker was wiped has ended")
    return longest_s


def _restarted(stage: Stage) -> float:
    job = stage.begin("restarted")
    stage.until_spent(job, 100)
    stage.saboteur.do(Act(at_s=0, deed=Deed.KILL, part=Part.POSTGRES))
    hit: Hit = stage.saboteur.hits[-1]
    recovered_s = _next_progress(stage, hit.at)
    stage.until(lambda: job.over, "the run whose database was restarted has ended")
    return recovered_s
