"""The figures that a run is held against: shared/reference/policies.md, section 3, and search.md, 4.1 and 4.2.

Regret by judged score. Of policies.md 400 seeds, of search.md 200 to 300.
"""

from benchmarks.search.landscapes import NAMES
from benchmarks.search.players import FRONT, STRICT, UCT, UCT_LOW

SEEDS = 400
COLUMNS = (FRONT, STRICT, UCT_LOW, UCT, "beam 4", "beam 8", "chains")

_POLICIES = """
32 | .187 .314 .384 .425 .469 .562 .486 .384 | .187 .313 .382 .429 .482 .580 .491 .396
   | .223 .350 .404 .448 .489 .562 .531 .464 | .227 .359 .407 .455 .493 .565 .542 .475
   | .369 .461 .483 .554 .585 .669 .650 .548 | | .357 .450 .471 .576 .607 .700 .646 .533
64 | .103 .234 .318 .359 .415 .510 .338 .267 | .102 .229 .309 .359 .420 .523 .338 .255
   | .144 .257 .322 .372 .422 .523 .355 .288 | .144 .262 .323 .381 .427 .524 .374 .304
   | .141 .277 .352 .413 .463 .547 .459 .287 | | .246 .374 .414 .500 .543 .616 .571 .447
128 | .055 .176 .256 .319 .380 .483 .206 .184 | .052 .169 .243 .321 .381 .494 .204 .176
   | .111 .218 .271 .329 .383 .501 .229 .180 | .100 .212 .268 .338 .390 .501 .229 .195
   | .061 .182 .263 .342 .395 .498 .239 .196 | | .164 .315 .370 .457 .505 .561 .507 .375
256 | .025 .140 .213 .296 .355 .472 .133 .147 | .024 .134 .204 .295 .354 .481 .138 .139
   | .090 .193 .234 .305 .356 .493 .176 .144 | .075 .180 .228 .309 .362 .489 .154 .145
   | .033 .149 .228 .304 .363 .477 .146 .149 | .024 .143 .219 .317 .374 .484 .173 .159 |
512 | .018 .115 .193 .281 .340 .468 .095 .147 | .017 .110 .188 .279 .338 .473 .096 .144
   | .072 .176 .210 .292 .343 .489 .161 .141 | .054 .157 .202 .284 .338 .484 .129 .136
   | .025 .134 .211 .287 .355 .475 .101 .148 | .018 .121 .196 .293 .349 .476 .109 .144 |
"""

_SEARCH = {
    "best of n": ".399 .510 .546 .255 .452 .512",
    "random parent": ".282 .393 .428 .171 .296 .350",
    "greedy": ".266 .324 .362 .262 .316 .344",
    "chains": ".245 .377 .419 .100 .271 .335",
    "chains, elimination": ".222 .356 .428 .096 .266 .364",
    "TreeQuest AB-MCTS-A": ".195 .396 .451 .076 .258 .334",
    "TreeQuest MCTS": ".182 .305 .349 .139 .220 .259",
}

_CORRECTIONS = ("uncorrected", "widening only", "WU", "virtual loss 1", "virtual loss 3")
_IN_FLIGHT = """
4 .180/.232 .177/.231 .176/.227 .175/.230 .177/.239
8 .195/.252 .186/.242 .180/.234 .186/.241 .200/.263
16 .209/.267 .197/.255 .171/.231 .199/.254 .229/.293
32 .251/.338 .235/.325 .168/.250 .239/.297 .275/.339
64 .310/.392 .302/.387 .193/.313 .299/.360 .330/.392
"""


def policies() -> dict[tuple[int, str, str], float]:
    """(calls, player, landscape) -> regret."""
    found: dict[tuple[int, str, str], float] = {}
    calls, column = 0, 0
    for line in _POLICIES.strip().splitlines():
        begins, *cells = line.split("|")
        if begins.strip():
            calls, column = int(begins), 0
        for cell in cells:
            for name, value in zip(NAMES, cell.split(), strict=False):
                found[calls, COLUMNS[column], name] = float(value)
            column += 1
    return found


def rivals() -> dict[tuple[int, str, str], float]:
    """The same for those whom search.md, 4.1, alone has, on E, D and N."""
    places = [(calls, name) for calls in (64, 256) for name in ("E", "D", "N")]
    return {
        (calls, player, name): float(value)
        for player, row in _SEARCH.items()
        for (calls, name), value in zip(places, row.split(), strict=True)
        if player != "chains" or calls == 256
    }


def in_flight() -> dict[tuple[int, str, str], float]:
    """(in flight, correction, landscape) -> regret at 256 calls."""
    found: dict[tuple[int, str, str], float] = {}
    for line in _IN_FLIGHT.strip().splitlines():
        flying, *cells = line.split()
        for player, cell in zip(_CORRECTIONS, cells, strict=True):
            for name, value in zip(("D", "N"), cell.split("/"), strict=True):
                found[int(flying), player, name] = float(value)
    return found
