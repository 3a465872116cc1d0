"""What the hosts of a fleet are told, and what is said at the end."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.errors import ConfigError
from deployer.events import HostEnd
from deployer.fleet.release import was_busy
from deployer.rollout import Rollout, Strategy, barriers, migrator, waves

HOSTS = ("web1", "web2", "web3")
ROLLING = Strategy(batch="1")
Told = tuple[str, str]


class Fleet:
    """A rollout, and short words for what its hosts say. The clock stands unless a test moves it."""

    def __init__(self, *hosts: str, strategy: Strategy | None = None, hooks: bool = False) -> None:
        self.hosts = hosts or HOSTS
        self.rollout = Rollout(self.hosts, strategy=strategy or Strategy(), hooks=hooks)
        self.now = 0.0
        self.mute: set[str] = set()
        for host in self.hosts:
            self.rollout.met(host, "v42", self.now)

    def receive(self, host: str, event: str, **fields: Any) -> None:
        self.rollout.receive(host, {"event": event, **fields}, self.now)

    def ready(self, barrier: str, *hosts: str) -> list[Told]:
        for host in hosts or self.hosts:
            if barrier == "keep":
                self.receive(host, "switched", to="v43", previous="v42")
            self.receive(host, "ready", phase=barrier, release="v43")
        return self.orders()

    def orders(self) -> list[Told]:
        """Who is told what: (``web1``, ``go switch``). Whoever is called answers, but for the ``mute``."""
        given = self.rollout.orders(self.now)
        told = [(order.host, f"{order.do} {order.barrier}".strip()) for order in given if order.do != "call"]
        answering = [order.host for order in given if order.do == "call" and order.host not in self.mute]
        for host in answering:
            self.receive(host, "holding")
        return [*told, *(self.orders() if answering else [])]

    def finish(self, exit: int, *hosts: str, message: str = "", serving: str = "v42", next: str = "") -> list[Told]:
        for host in hosts:
            self.receive(host, "phase.started", phase="build", release="v43")
            if message:
                self.receive(host, "failed", exit=exit, message=message, state="", next=next, logs=["last line"])
            serves = "v43" if exit == 0 else serving
            self.receive(
                host, "finished", exit=exit, release="v43", serving=serves, seconds=2.0, summary=f"{serves} serves"
            )
        return self.orders()

    def lose(self, host: str) -> list[Told]:
        self.rollout.lost(host, "the connection was lost", self.now)
        return self.orders()

    def refuse(self, host: str, exit: int, why: str = "no route to host") -> list[Told]:
        self.rollout.refused(host, exit, why, self.now)
        return self.orders()

    def hook(self, do: str, *hosts: str, error: str = "") -> list[Told]:
        for host in hosts:
            self.rollout.hook_ended(host, do, error, self.now)
        return self.orders()

    def end(self, host: str) -> HostEnd:
        return next(end for end in self.rollout.ends() if end.host == host)

    @property
    def results(self) -> list[str]:
        return [end.result for end in self.rollout.ends()]


def all_of(word: str, *hosts: str) -> list[Told]:
    return [(host, word) for host in hosts or HOSTS]


# Waves


@pytest.mark.parametrize(
    ("strategy", "sizes"),
    [
        (Strategy(), [10]),
        (Strategy(batch="4"), [4, 4, 2]),
        (Strategy(batch="25%"), [2, 2, 2, 2, 2]),
        (Strategy(batch="1%"), [1] * 10),
        (Strategy(batch="100%"), [10]),
        (Strategy(batch="99"), [10]),
        (Strategy(canary=1), [1, 9]),
        (Strategy(canary=2, batch="50%"), [2, 5, 3]),
        (Strategy(canary=99, bake=1), [10]),
    ],
)
def test_waves_divide_the_fleet_in_its_order(strategy: Strategy, sizes: list[int]) -> None:
    """The canary comes first, then batches; a share is of the whole fleet, rounded down, and at least one host."""
    hosts = [f"web{number}" for number in range(10)]
    found = waves(hosts, strategy)
    assert [len(wave) for wave in found] == sizes
    assert [host for wave in found for host in wave] == hosts


@pytest.mark.parametrize("batch", ["0", "0%", "-1", "101%", "2.5", "half", " 2", "2 %", "1\n", "٢"])
def test_a_batch_that_makes_no_sense_is_refused(batch: str) -> None:
    """The message quotes what was typed; nothing was touched."""
    with pytest.raises(ConfigError, match="--batch") as error:
        waves(HOSTS, Strategy(batch=batch))
    assert batch in error.value.message
    assert "--batch 25%" in str(error.value.next)


@pytest.mark.parametrize("strategy", [Strategy(canary=-1), Strategy(bake=5), Strategy(canary=1, bake=-1)])
def test_a_canary_that_makes_no_sense_is_refused(strategy: Strategy) -> None:
    """A rollout does not even begin with it."""
    with pytest.raises(ConfigError, match=r"--canary|--bake"):
        Rollout(HOSTS, strategy=strategy)


def test_the_migration_has_a_place_that_stays() -> None:
    """The same host whatever the order of the hosts; or the one that was chosen, if it is there."""
    assert migrator(("web2", "web1"), None) == migrator(("web1", "web2"), "") == "web1"
    assert migrator(("web1", "web2"), "web2") == "web2"
    with pytest.raises(ConfigError, match="db1 is to run the migration"):
        migrator(HOSTS, "db1")


def test_only_the_host_that_migrates_waits_before_it() -> None:
    """Without a migration nobody has anything to wait for before the check."""
    assert barriers("web1", migrator="web1", migrates=True) == ("migrate", "check", "switch", "keep")
    assert barriers("web2", migrator="web1", migrates=True) == ("check", "switch", "keep")
    assert barriers("web1", migrator="web1", migrates=False) == ("switch", "keep")


# All goes well


def test_a_fleet_goes_on_when_all_of_it_is_ready() -> None:
    """The migration when all have started; the check when it is over; then the switch, and the end."""
    fleet = Fleet()
    assert fleet.ready("check", "web2", "web3") == []
    assert fleet.ready("migrate", "web1") == [("web1", "go migrate")]
    assert fleet.ready("check", "web1") == all_of("go check")
    assert fleet.ready("switch", "web1", "web2") == []
    assert fleet.ready("switch", "web3") == all_of("go switch")
    assert fleet.ready("keep", "web1", "web2") == []
    assert fleet.ready("keep", "web3") == all_of("go keep")
    assert not fleet.rollout.over
    assert fleet.finish(0, *HOSTS) == []
    assert fleet.rollout.over
    verdict = fleet.rollout.verdict()
    assert (verdict.exit, verdict.release, str(verdict.next)) == (0, "v43", "")
    assert verdict.summary == "v43 serves on web1, web2 and web3"
    assert fleet.results == ["done"] * 3


def test_what_is_said_twice_is_answered_once() -> None:
    """A connection that was made again tells everything from the first event on."""
    fleet = Fleet()
    assert fleet.ready("switch") == all_of("go switch")
    assert fleet.ready("switch") == []
    assert fleet.ready("check") == []
    assert fleet.ready("keep") == all_of("go keep")


def test_batches_follow_each_other_and_are_kept_together() -> None:
    """Nobody is told to keep it before the last wave is found good: until then all can go back."""
    fleet = Fleet(strategy=ROLLING)
    assert fleet.ready("switch") == [("web1", "go switch")]
    assert fleet.ready("keep", "web1") == [("web2", "go switch")]
    assert fleet.ready("keep", "web2") == [("web3", "go switch")]
    assert fleet.ready("keep", "web3") == all_of("go keep")


def test_a_canary_bakes_before_the_others_follow() -> None:
    """Its time begins when it is found good; the driver is told when to look again."""
    fleet = Fleet(strategy=Strategy(canary=1, bake=60))
    assert fleet.ready("switch") == [("web1", "go switch")]
    assert fleet.rollout.wake() is None
    fleet.now = 100.0
    assert fleet.ready("keep", "web1") == []
    assert fleet.rollout.wake() == 160.0
    fleet.now = 159.0
    assert fleet.orders() == []
    fleet.now = 160.0
    assert fleet.orders() == all_of("go switch", "web2", "web3")
    assert fleet.rollout.wake() is None


def test_a_canary_that_fails_while_it_bakes_takes_the_release_back() -> None:
    """Even when its time is over by the time its last word comes: a phase that failed holds up all others."""
    fleet = Fleet(strategy=Strategy(canary=1, bake=60))
    fleet.ready("switch")
    fleet.ready("keep", "web1")
    fleet.receive("web1", "phase.failed", phase="watch", release="v43")
    fleet.now = 61.0
    assert fleet.orders() == []
    assert fleet.rollout.wake() is None
    assert fleet.finish(6, "web1", message="it restarts again and again") == all_of("undo", "web2", "web3")
    fleet.finish(5, "web2", "web3")
    assert fleet.rollout.verdict().exit == 6
    assert fleet.results == ["failed", "discarded", "discarded"]


def test_a_host_that_kept_it_by_itself_is_good() -> None:
    """Its lease ran out at the end of its watch: it is where the others are going."""
    fleet = Fleet()
    fleet.ready("switch")
    assert fleet.finish(0, "web1") == []
    assert fleet.ready("keep", "web2", "web3") == all_of("go keep", "web2", "web3")


# Failures


def test_a_candidate_that_fails_takes_all_others_with_it() -> None:
    """Nobody has switched: 5. The host that failed is named, with its log; the others say because of whom."""
    fleet = Fleet()
    fleet.ready("switch", "web1")
    told = fleet.finish(5, "web3", message="the health check answered 500")
    assert told == all_of("undo", "web1", "web2")
    fleet.finish(5, "web1", "web2", message="web3: the health check answered 500")
    verdict = fleet.rollout.verdict()
    assert verdict.exit == 5
    assert verdict.summary == "web3: the health check answered 500"
    assert verdict.state == "v42 serves on web1, web2 and web3, uninterrupted"
    assert str(verdict.next) == "fab deploy"
    assert fleet.results == ["discarded", "discarded", "failed"]
    assert fleet.end("web3").logs == ("last line",)
    assert fleet.end("web1").detail == "because of web3"


def test_the_order_to_undo_says_why() -> None:
    """The host writes it into its history: the name of the other host, and what befell that."""
    fleet = Fleet()
    fleet.rollout.refused("web3", 5, "no space left", 0.0)
    assert {order.why for order in fleet.rollout.orders(0.0)} == {"web3: no space left"}


def test_every_host_that_failed_is_told_of() -> None:
    """Not only the first: two candidates can fail for two reasons in the same moment."""
    fleet = Fleet()
    fleet.receive("web1", "phase.started", phase="build", release="v43")
    fleet.receive("web1", "phase.failed", phase="build")
    assert fleet.finish(5, "web2", message="no space left") == [("web3", "undo")]
    fleet.receive("web1", "failed", exit=5, message="pip failed", logs=["ERROR"])
    fleet.receive("web1", "finished", exit=5, serving="v42", summary="pip failed")
    fleet.finish(5, "web3")
    assert fleet.results == ["failed", "failed", "discarded"]
    assert fleet.end("web1").logs == ("ERROR",)
    assert fleet.rollout.verdict().summary == "web2: no space left; web1 failed as well"


def test_a_migration_that_ran_is_mentioned() -> None:
    """It stays applied, whatever becomes of the release."""
    fleet = Fleet()
    fleet.receive("web1", "phase.started", phase="migrate", release="v43")
    fleet.finish(5, "web2", message="the health check answered 500")
    fleet.finish(5, "web1", "web3")
    assert fleet.rollout.verdict().state.endswith("; what the migration did stays applied")


def test_a_failure_in_the_second_wave_takes_the_first_one_back() -> None:
    """All serve the old release again: 6."""
    fleet = Fleet(strategy=ROLLING)
    fleet.ready("switch")
    fleet.ready("keep", "web1")
    assert fleet.finish(6, "web2", message="errors in the watch") == [("web1", "undo"), ("web3", "undo")]
    fleet.finish(6, "web1")
    fleet.finish(5, "web3")
    assert fleet.rollout.over
    assert fleet.rollout.verdict().exit == 6
    assert fleet.results == ["rolled back", "failed", "discarded"]


@pytest.mark.parametrize("how", ["lost", "finished", "cannot"])
def test_a_host_that_does_not_go_back_makes_it_mixed(how: str) -> None:
    """7, with what serves where and the one command that repairs it."""
    fleet = Fleet(strategy=ROLLING)
    fleet.ready("switch")
    fleet.ready("keep", "web1")
    fleet.finish(6, "web2", message="errors in the watch")
    if how == "lost":
        fleet.lose("web1")
    else:
        fleet.finish(0 if how == "finished" else 7, "web1", serving="v43")
    fleet.finish(5, "web3")
    verdict = fleet.rollout.verdict()
    assert (verdict.exit, str(verdict.next)) == (7, "fab rollback --to v42")
    assert "v42 serves on web2 and web3" in verdict.state
    assert (
        "v43 serves on web1" if how == "finished" else "what web1 serves is not known (last seen: v43)"
    ) in verdict.state
    assert fleet.results == [{"lost": "lost", "finished": "done", "cannot": "failed"}[how], "failed", "discarded"]


def test_a_first_deploy_that_ends_mixed_is_repaired_by_another() -> None:
    """There is no release to go back to."""
    fleet = Fleet(strategy=ROLLING)
    fleet.ready("switch")
    fleet.ready("keep", "web1")
    fleet.finish(6, "web2", message="errors", serving="")
    fleet.finish(0, "web1")
    fleet.finish(5, "web3", serving="")
    verdict = fleet.rollout.verdict()
    assert (verdict.exit, str(verdict.next)) == (7, "fab deploy")
    assert "nothing serves on web2 and web3" in verdict.state


def test_going_on_leaves_what_was_found_good() -> None:
    """With --keep-going no further host switches; those that are being watched are waited for."""
    fleet = Fleet("web1", "web2", "web3", "web4", "web5", strategy=Strategy(batch="2", keep_going=True))
    fleet.ready("switch")
    fleet.ready("keep", "web1", "web2")
    assert fleet.finish(6, "web3", message="errors in the watch") == [("web5", "undo")]
    assert fleet.ready("keep", "web4") == all_of("go keep", "web1", "web2", "web4")
    fleet.finish(0, "web1", "web2", "web4")
    fleet.finish(5, "web5")
    verdict = fleet.rollout.verdict()
    assert verdict.exit == 7
    assert verdict.state == "v43 serves on web1, web2 and web4; v42 serves on web3 and web5"
    assert str(verdict.next) == "fab deploy   (once that is put right)\nfab rollback --to v42"
    assert fleet.results == ["done", "done", "failed", "done", "discarded"]


def test_going_on_begins_with_the_first_switch() -> None:
    """Before it there is nothing to leave."""
    fleet = Fleet(strategy=Strategy(batch="1", keep_going=True))
    fleet.ready("switch", "web1")
    assert fleet.finish(5, "web2", message="no space left") == all_of("undo", "web1", "web3")


# Hosts that cannot be reached


def test_a_host_lost_before_the_switch_is_a_failure() -> None:
    """It discards its candidate by itself, so that all serve the old release: 5."""
    fleet = Fleet()
    fleet.ready("switch", "web1", "web2")
    assert fleet.lose("web3") == all_of("undo", "web1", "web2")
    fleet.finish(5, "web1", "web2")
    verdict = fleet.rollout.verdict()
    assert verdict.exit == 5
    assert "web3 discards its candidate without a word" in verdict.state
    assert fleet.end("web3").detail == "the connection was lost; it discards v43 by itself"


@pytest.mark.parametrize("switched", [True, False])
def test_a_host_lost_after_the_switch_stops_nobody(switched: bool) -> None:
    """The others stay; nobody has seen how that one ended: 7, with its name."""
    fleet = Fleet(strategy=Strategy(batch="2"))
    fleet.ready("switch")
    fleet.ready("keep", "web1")
    if switched:
        fleet.receive("web2", "switched", to="v43", previous="v42")
    assert fleet.lose("web2") == [("web3", "go switch")]
    assert fleet.ready("keep", "web3") == all_of("go keep", "web1", "web3")
    fleet.finish(0, "web1", "web3")
    verdict = fleet.rollout.verdict()
    assert (verdict.exit, verdict.summary) == (7, "web2 was lost")
    assert str(verdict.next) == "fab status\nfab deploy"
    seen = " (last seen: v43)" if switched else " (last seen: v42)"
    assert verdict.state == f"v43 serves on web1 and web3; what web2 serves is not known{seen}"
    assert fleet.results == ["done", "lost", "done"]
    assert ("it had switched" in fleet.end("web2").detail) is switched


def test_a_host_that_goes_down_is_no_failure_of_the_release() -> None:
    """Its last word is a phase that was cut short. It finishes by itself when it is back."""
    fleet = Fleet()
    fleet.ready("switch")
    fleet.receive("web3", "switched", to="v43", previous="v42")
    fleet.receive("web3", "phase.failed", phase="watch")
    assert fleet.lose("web3") == []
    assert fleet.ready("keep", "web1", "web2") == all_of("go keep", "web1", "web2")


def test_a_host_that_was_seen_to_go_back_has_failed_though_it_was_lost() -> None:
    """It has said that the release is bad; that its connection broke then changes nothing."""
    fleet = Fleet()
    fleet.ready("switch")
    fleet.receive("web3", "switched", to="v43", previous="v42")
    fleet.receive("web3", "phase.failed", phase="watch")
    fleet.receive("web3", "switched", to="v42", previous="v43")
    assert fleet.lose("web3") == all_of("undo", "web1", "web2")


def test_the_word_of_a_host_that_failed_counts_though_its_end_was_not_seen() -> None:
    """It had told why; its last event was cut off with the connection."""
    fleet = Fleet()
    fleet.ready("switch")
    fleet.receive("web3", "failed", exit=6, message="errors in the watch")
    assert fleet.lose("web3") == all_of("undo", "web1", "web2")
    assert fleet.end("web3").detail.startswith("errors in the watch; then the connection was lost; ")


@pytest.mark.parametrize("back", ["phase.started", "ready"])
def test_a_host_that_went_down_and_is_back_goes_with_the_others_again(back: str) -> None:
    """Its phase was cut short, and has begun anew: it is no longer about to end by itself."""
    fleet = Fleet()
    fleet.ready("switch")
    fleet.receive("web3", "phase.failed", phase="watch")
    fleet.receive("web3", back, phase="watch" if back == "phase.started" else "keep", release="v43")
    assert fleet.finish(6, "web1", message="errors in the watch") == all_of("undo", "web2", "web3")


def test_a_host_whose_job_was_killed_at_a_barrier_stands_there_no_more() -> None:
    """It clears away what it had begun: the others are not told to switch because it once was ready."""
    fleet = Fleet()
    fleet.ready("switch", "web1")
    fleet.receive("web1", "recovering")
    assert fleet.ready("switch", "web2", "web3") == []
    assert fleet.finish(5, "web1", message="its process on the host was killed") == all_of("undo", "web2", "web3")


def test_what_was_told_to_stay_is_not_taken_back() -> None:
    """A host that fails in that very moment goes back alone: its mixed fleet is told of, and not made worse."""
    fleet = Fleet()
    fleet.ready("switch")
    fleet.ready("keep")
    assert fleet.finish(6, "web3", message="errors in the watch") == []
    fleet.finish(0, "web1", "web2")
    verdict = fleet.rollout.verdict()
    assert (verdict.exit, str(verdict.next)) == (7, "fab status\nfab deploy")


def test_nobody_follows_a_canary_that_was_lost() -> None:
    """A release that took its host down with it looks just like that."""
    fleet = Fleet(strategy=Strategy(canary=1, bake=60))
    fleet.ready("switch")
    fleet.ready("keep", "web1")
    assert fleet.lose("web1") == all_of("undo", "web2", "web3")
    fleet.finish(5, "web2", "web3")
    verdict = fleet.rollout.verdict()
    assert verdict.exit == 7
    assert "no host is left that shows whether the release is good" in verdict.summary
    assert fleet.results == ["lost", "discarded", "discarded"]


@pytest.mark.parametrize(
    ("exit", "result"), [(2, "failed"), (3, "unreachable"), (4, "busy"), (5, "failed"), (99, "failed")]
)
def test_where_nothing_began_the_code_is_that_of_the_host(exit: int, result: str) -> None:
    """The others have not been touched, and say so."""
    fleet = Fleet()
    assert fleet.refuse("web2", exit) == all_of("undo", "web1", "web3")
    fleet.refuse("web1", 5, "stopped")
    fleet.refuse("web3", 5, "stopped")
    verdict = fleet.rollout.verdict()
    assert verdict.exit == (exit if exit < 6 else 1)
    assert verdict.state == "nothing was touched"
    assert fleet.results == ["untouched", result, "untouched"]
    assert fleet.end("web1").detail == "not begun, because of web2"


def test_what_the_host_program_refuses_is_refused() -> None:
    """Its last word comes without a job to follow."""
    fleet = Fleet("web1")
    fleet.receive("web1", "failed", exit=4, message="busy: a deploy by ada runs", next="fab attach")
    fleet.receive("web1", "finished", exit=4, serving="v42", summary="busy")
    verdict = fleet.rollout.verdict()
    assert (verdict.exit, str(verdict.next), fleet.results) == (4, "fab attach", ["busy"])


def test_who_was_too_late_by_a_moment_is_busy_though_its_job_had_begun() -> None:
    """Another command took the number before its job did: the others discard, and who waits tries again."""
    fleet = Fleet("web1", "web2")
    for host in ("web1", "web2"):
        fleet.receive(host, "phase.started", phase="build")
    fleet.receive("web1", "failed", exit=4, message="busy: another command was quicker")
    fleet.receive("web1", "finished", exit=4, serving="v42", summary="busy")
    assert fleet.orders() == [("web2", "undo")]
    fleet.finish(5, "web2")
    verdict = fleet.rollout.verdict()
    assert (verdict.exit, fleet.results) == (5, ["busy", "discarded"])
    assert was_busy(verdict)


def test_one_unreachable_host_among_others_that_had_begun_is_a_refusal() -> None:
    """Candidates have been discarded: 3 would say that nothing was touched."""
    fleet = Fleet()
    fleet.ready("switch", "web1", "web3")
    fleet.refuse("web2", 3)
    fleet.finish(5, "web1", "web3")
    assert fleet.rollout.verdict().exit == 5
    assert fleet.results == ["discarded", "unreachable", "discarded"]


# A person ends it


@pytest.mark.parametrize(("stage", "exit"), [("check", 5), ("switch", 6)])
def test_a_person_can_end_it(stage: str, exit: int) -> None:
    """All that is under way is undone, and the verdict says who wanted that."""
    fleet = Fleet(strategy=Strategy(keep_going=True))
    fleet.ready(stage)
    assert fleet.rollout.abort("aborted by ada@laptop", 0.0)
    assert fleet.orders() == all_of("undo")
    fleet.finish(exit, *HOSTS)
    verdict = fleet.rollout.verdict()
    assert (verdict.exit, verdict.summary) == (exit, "aborted by ada@laptop")
    assert fleet.end("web1").detail == "aborted by ada@laptop"


def test_it_is_too_late_to_end_what_was_told_to_stay() -> None:
    """The release is good everywhere by then."""
    fleet = Fleet()
    fleet.ready("switch")
    fleet.ready("keep")
    assert not fleet.rollout.abort("aborted by ada@laptop", 0.0)
    assert fleet.orders() == []


def test_a_person_overrules_going_on() -> None:
    """Even what was found good goes back then."""
    fleet = Fleet(strategy=Strategy(batch="2", keep_going=True))
    fleet.ready("switch")
    assert fleet.finish(6, "web1", message="errors") == [("web3", "undo")]
    assert fleet.rollout.abort("aborted by ada@laptop", 0.0)
    assert fleet.orders() == [("web2", "undo")]
    fleet.finish(6, "web2")
    fleet.finish(5, "web3")
    assert fleet.rollout.verdict().summary == "web1: errors; aborted by ada@laptop"


# Hooks


def test_each_wave_is_drained_before_it_and_undrained_after_it() -> None:
    """All hosts of a wave switch together; the next one is not drained before these take traffic again."""
    fleet = Fleet(strategy=Strategy(batch="2"), hooks=True)
    assert fleet.ready("switch") == all_of("drain", "web1", "web2")
    assert fleet.hook("drain", "web1") == []
    assert fleet.hook("drain", "web2") == all_of("go switch", "web1", "web2")
    assert fleet.ready("keep", "web1") == [("web1", "undrain")]
    assert fleet.ready("keep", "web2") == [("web2", "undrain")]
    assert fleet.hook("undrain", "web1") == []
    assert fleet.hook("undrain", "web2") == [("web3", "drain")]
    assert fleet.hook("drain", "web3") == [("web3", "go switch")]
    assert fleet.ready("keep", "web3") == [*all_of("go keep"), ("web3", "undrain")]
    fleet.finish(0, *HOSTS)
    assert not fleet.rollout.over
    fleet.hook("undrain", "web3")
    assert fleet.rollout.over


def test_a_canary_bakes_with_traffic() -> None:
    """Its time begins when it has been undrained."""
    fleet = Fleet(strategy=Strategy(canary=1, bake=60), hooks=True)
    fleet.ready("switch")
    fleet.hook("drain", "web1")
    fleet.ready("keep", "web1")
    fleet.now = 100.0
    fleet.hook("undrain", "web1")
    assert fleet.rollout.wake() == 160.0


def test_nobody_is_drained_where_all_switch_at_once() -> None:
    """To drain all of them would be an outage."""
    fleet = Fleet(hooks=True)
    assert fleet.ready("switch") == all_of("go switch")


def test_a_drain_that_fails_is_a_failure_and_is_undone() -> None:
    """It may have done half of its work; nobody knows, so the other hook runs when the host is over."""
    fleet = Fleet(strategy=ROLLING, hooks=True)
    fleet.ready("switch")
    assert fleet.hook("drain", "web1", error="exit status 1") == all_of("undo")
    assert fleet.finish(5, *HOSTS, message="told to undo", next="fab status") == [("web1", "undrain")]
    fleet.hook("undrain", "web1")
    verdict = fleet.rollout.verdict()
    assert (verdict.exit, verdict.summary) == (5, "web1: hooks.drain failed: exit status 1")
    assert str(verdict.next) == "fab deploy"  # not what the host advises who was told to undo it
    assert fleet.results == ["failed", "discarded", "discarded"]
    assert fleet.end("web1").detail == "hooks.drain failed: exit status 1"


def test_an_undrain_that_fails_stops_the_waves() -> None:
    """Each further wave would take more hosts out of the load balancer."""
    fleet = Fleet(strategy=ROLLING, hooks=True)
    fleet.ready("switch")
    fleet.hook("drain", "web1")
    fleet.ready("keep", "web1")
    assert fleet.hook("undrain", "web1", error="exit status 1") == all_of("undo")


def test_an_undrain_that_fails_at_the_end_is_a_warning() -> None:
    """The release serves everywhere: 0; what is left to do is said although all is well."""
    fleet = Fleet("web1", "web2", strategy=ROLLING, hooks=True)
    fleet.ready("switch")
    fleet.hook("drain", "web1")
    fleet.ready("keep", "web1")
    fleet.hook("undrain", "web1")
    fleet.hook("drain", "web2")
    fleet.ready("keep", "web2")
    assert fleet.hook("undrain", "web2", error="exit status 1") == []
    fleet.finish(0, "web1", "web2")
    verdict = fleet.rollout.verdict()
    assert verdict.exit == 0
    assert verdict.summary == "v43 serves on web1 and web2; web2: hooks.undrain failed: exit status 1"
    assert verdict.state == "the load balancer may still send nothing to web2"
    assert fleet.end("web2").detail == "v43 serves; hooks.undrain failed: exit status 1"


# Words


def test_many_hosts_are_counted_and_the_doubtful_ones_named() -> None:
    """A fleet of fifty has a verdict of some lines."""
    hosts = [f"web{number}" for number in range(50)]
    fleet = Fleet(*hosts)
    fleet.ready("switch")
    lost = hosts[:6]
    for host in lost:
        fleet.lose(host)
    fleet.ready("keep", *hosts[6:])
    fleet.finish(0, *hosts[6:])
    verdict = fleet.rollout.verdict()
    assert verdict.state.startswith("v43 serves on web6, web7, web8 and 41 more; what web0 serves is not known")
    assert verdict.summary == "web0, web1, web2, web3, web4 and web5 were lost"


def test_a_host_whose_end_was_not_seen_has_an_outcome_all_the_same() -> None:
    """A driver that breaks down can still tell what it knows."""
    fleet = Fleet()
    fleet.ready("switch")
    assert fleet.results == ["lost"] * 3
    assert fleet.rollout.verdict().exit == 7


def test_an_ending_without_a_code_is_a_failure() -> None:
    """A missing exit status is never taken for a good one."""
    fleet = Fleet()
    fleet.ready("switch", "web1")
    fleet.receive("web1", "finished", serving="v42")
    assert fleet.orders() == all_of("undo", "web2", "web3")


# The last call


def test_nobody_switches_while_one_does_not_answer() -> None:
    """All stood ready, and one is gone since, without a word: it is called, and awaited, before the first switches."""
    fleet = Fleet()
    fleet.mute = {"web2"}
    fleet.ready("check")
    assert fleet.ready("switch") == []
    assert fleet.orders() == []
    assert fleet.lose("web2") == all_of("undo", "web1", "web3")
    assert fleet.finish(5, "web1", "web3") == []
    assert fleet.rollout.verdict().exit == 5


def test_a_host_that_answers_late_holds_nobody_up_for_ever() -> None:
    """Its connection was made anew: then all switch."""
    fleet = Fleet()
    fleet.mute = {"web2"}
    fleet.ready("check")
    assert fleet.ready("switch") == []
    fleet.receive("web2", "following", job="7")
    fleet.receive("web2", "holding")
    assert fleet.orders() == all_of("go switch")


def test_each_wave_is_called_anew() -> None:
    """What was alive before the first wave may be gone before the second."""
    fleet = Fleet(strategy=Strategy(batch="1"))
    fleet.ready("check")
    assert fleet.ready("switch") == all_of("go switch", "web1")
    fleet.mute = {"web3"}
    assert fleet.ready("keep", "web1") == []
    assert fleet.lose("web3") == all_of("undo", "web1", "web2")


def test_a_host_is_named_once_in_the_summary() -> None:
    """A reason that begins with its name is told as it is."""
    fleet = Fleet()
    fleet.refuse("web2", 3, "web2 can't be reached: nothing listens there")
    assert fleet.rollout.verdict().summary == "web2 can't be reached: nothing listens there"


def test_what_several_hosts_say_alike_is_said_once() -> None:
    """Three hosts on which somebody else deploys are one reason, whoever of them was heard first."""
    fleet = Fleet()
    for host in ("web2", "web1", "web3"):
        fleet.rollout.refused(host, 4, "a deploy by bob runs", fleet.now)
    assert fleet.rollout.verdict().summary == "web1, web2 and web3: a deploy by bob runs"


def test_advice_to_look_at_a_host_names_it() -> None:
    """The logs of the other hosts have nothing to show; a command for the whole fleet stays one."""
    fleet = Fleet()
    fleet.ready("check")
    fleet.receive(
        "web2", "failed", exit=5, message="v43 is not healthy", next="fab logs -n 200   (all), then fab deploy"
    )
    fleet.receive("web2", "finished", exit=5, release="v43", serving="v42", seconds=1.0, summary="v43 is not healthy")
    fleet.orders()
    fleet.finish(5, "web1", "web3")
    assert str(fleet.rollout.verdict().next) == "fab logs -H web2 -n 200   (all), then fab deploy"
