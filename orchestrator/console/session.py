"""Who may come in: whoever knows the one token. Pure but for the clock that it is given."""

import hmac
import secrets
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from time import time

from db.environment import read
from db.errors import ConfigError

TOKEN = "INSTRUCTREE_CONSOLE_TOKEN"
SESSION_S = 7 * 24 * 3600
MOST_WRONG, WITHIN_S = 10, 60.0
_SHORTEST = 16


class WrongToken(Exception):
    """Not the token."""


class TooManyTries(Exception):
    """Nobody is let in for a while. `wait_s` says for how long."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong tokens: wait {wait_s:.0f} s, then try again")
        self.wait_s = wait_s


def token_of_environment() -> str | None:
    """The token that is set, if one is. Raises ConfigError when it could be guessed."""
    token = read(TOKEN)
    if token is not None and len(token) < _SHORTEST:
        raise ConfigError(
            f"{TOKEN} is shorter than {_SHORTEST} characters: take a long random one, or none to get a fresh one"
        )
    return token


def new_token() -> str:
    return secrets.token_urlsafe(24)


class Door:
    """Lets in by token and knows again by session. A session is a number, a time and their seal; the seal's key is made
    of the token, so that nothing has to be stored, and another token ends all sessions.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time) -> None:
        self._token = token.encode()
        self._key = hmac.digest(self._token, b"instructree console session", sha256)
        self._clock = clock
        self._wrong: deque[float] = deque(maxlen=MOST_WRONG)
        # Of its own for each token: consoles on other ports of a host share its cookies.
        self.cookie = "instructree_" + hmac.digest(self._key, b"cookie", sha256).hex()[:8]

    def enter(self, token: str) -> str:
        """A new session. Raises WrongToken, or TooManyTries when there were so many that they may be guesses."""
        now = self._clock()
        if len(self._wrong) == MOST_WRONG and now - self._wrong[0] < WITHIN_S:
            raise TooManyTries(WITHIN_S - (now - self._wrong[0]))
        if not hmac.compare_digest(token.strip().encode(), self._token):
            self._wrong.append(now)
            raise WrongToken
        given = f"{secrets.token_hex(16)}.{int(now)}"
        return f"{given}.{self._seal(given)}"

    def knows(self, session: str | None) -> bool:
        """Whether this is a session of ours that has not grown too old."""
        given, _, seal = (session or "").rpartition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(given).encode()):
            return False
        return self._clock() - int(given.rpartition(".")[2]) < SESSION_S

    def stamp(self, session: str) -> str:
        """What a form of this session carries, so that no other site can send it."""
        return self._seal(f"form {session}")

    def knows_stamp(self, session: str, stamp: str) -> bool:
        return hmac.compare_digest(stamp.encode(), self.stamp(session).encode())

    def _seal(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), sha256).hex()
