"""Everything at once: hypothesis plays API, workers, supervisor and fate against a model that fits on a page."""

from dataclasses import dataclass

import pytest
import redis
from broker_lab import TASK, Desk, answer, new_job
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.broker.admin import QueueAdmin, Requeue
from service.broker.config import BrokerConfig
from service.broker.embedded import EmbeddedServer
from service.broker.records import TRANSITIONS, Admission, Claim, JobState
from service.broker.worker import RedisWorkerBroker
from service.schemas import Lane

LIMIT = 4
CRASHES, LOSSES = 2, 3

lanes = st.sampled_from(list(Lane))
numbers = st.integers(0, 3)


@dataclass
class Job:
    lane: Lane
    state: JobState = JobState.QUEUED
    holder: str = ""
    fence: int = 0
    seated: bool = False
    cancelled: bool = False
    late: bool = False
    crashes: int = 0
    losses: int = 0
    in_stream: bool = True
    answered: int = 0

    def end(self, state: JobState, *, keep_entry: bool = False) -> None:
        assert not self.state.final, "ended twice"
        self.state = state
        self.answered += 1
        self.in_stream = keep_entry


class Queue(RuleBasedStateMachine):
    server: EmbeddedServer

    def __init__(self) -> None:
        super().__init__()
        with redis.Redis.from_url(self.server.url) as client:
            client.flushall()
        self.config = BrokerConfig(self.server.url, queue_limit=LIMIT, max_crashes=CRASHES, max_losses=LOSSES)
        self.desk, self.admin = Desk(self.config), QueueAdmin(self.config)
        self.jobs: dict[str, Job] = {}
        self.keys: dict[str, str] = {}
        self.hired = 0
        self.workers: list[RedisWorkerBroker] = []
        self.claims: dict[str, list[Claim]] = {}
        self.seen: dict[str, JobState] = {}
        for _ in range(2):
            self.hire()

    def hire(self) -> RedisWorkerBroker:
        self.hired += 1
        worker = RedisWorkerBroker(self.config, f"w{self.hired}")
        self.workers.append(worker)
        self.claims[worker.worker_id] = []
        return worker

    def waiting(self, lane: Lane) -> list[str]:
        """What counts as depth: also what ended while it waited, until somebody comes by."""
        return [i for i, job in self.jobs.items() if job.lane is lane and job.in_stream and not job.holder]

    def deliverable(self, lane: Lane) -> list[str]:
        return [i for i in self.waiting(lane) if self.jobs[i].state is JobState.QUEUED and not self.jobs[i].late]

    # The API

    @rule(lane=lanes)
    def admit(self, lane: Lane) -> None:
        job_id = f"j{len(self.jobs)}"
        receipt = self.desk.submit(new_job(job_id, lane=lane))
        self.expect_admission(job_id, lane, receipt.admission)

    @rule(lane=lanes, key=st.sampled_from("xy"), body=st.sampled_from("12"))
    def admit_with_a_key(self, lane: Lane, key: str, body: str) -> None:
        job_id = f"j{len(self.jobs)}"
        receipt = self.desk.submit(new_job(job_id, lane=lane, idempotency_key=key, body_hash=body))
        if key in self.keys:
            first, first_body = self.keys[key].split()
            assert receipt.job_id == first
            assert receipt.admission is (Admission.KNOWN if body == first_body else Admission.CONFLICT)
        else:
            self.expect_admission(job_id, lane, receipt.admission)
            if receipt.admission is Admission.ACCEPTED:
                self.keys[key] = f"{job_id} {body}"

    def expect_admission(self, job_id: str, lane: Lane, admission: Admission) -> None:
        if len(self.waiting(lane)) >= LIMIT and admission is Admission.ACCEPTED:
            # It made room by dropping what had ended.
            self.sweep(lane)
        if len(self.waiting(lane)) < LIMIT:
            assert admission is Admission.ACCEPTED
            self.jobs[job_id] = Job(lane)
            assert self.desk.depth(lane) <= LIMIT
        else:
            assert admission is Admission.FULL
            self.learn_ends()

    def sweep(self, lane: Lane) -> None:
        streamed = set(self.desk.entries(lane))
        self.learn_ends()
        for job_id in self.waiting(lane):
            if job_id not in streamed:
                assert self.jobs[job_id].state.final, f"{job_id} was dropped alive"
                self.jobs[job_id].in_stream = False

    def learn_ends(self) -> None:
        """A look ends what waits after its deadline."""
        for job_id, job in self.jobs.items():
            if job.state is JobState.QUEUED and job.late:
                assert self.desk.state(job_id) is JobState.FAILED
                job.end(JobState.FAILED, keep_entry=True)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def admit_again(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        assert self.desk.submit(new_job(job_id)).admission is Admission.KNOWN

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[job_id]
        assert self.desk.cancel(job_id) is (not job.state.final or job.state is JobState.CANCELLED)
        if job.state is JobState.QUEUED:
            job.end(JobState.CANCELLED, keep_entry=True)
        elif job.state is JobState.RUNNING:
            job.cancelled = True

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def deadline_passes(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        self.desk.let_deadline_pass(job_id)
        self.jobs[job_id].late = True

    # The workers

    @rule(which=st.integers(0, 1), room=numbers, ahead=numbers)
    def take(self, which: int, room: int, ahead: int) -> None:
        worker = self.workers[which]
        ahead = min(ahead, room)
        before = {lane: self.deliverable(lane) for lane in Lane}
        claims = worker.take({TASK: room}, {TASK: ahead})
        assert len(claims) == min(room, sum(map(len, before.values()))), "it takes all it can"
        for lane in Lane:
            taken = [claim.id for claim in claims if claim.lane is lane]
            assert set(taken) <= set(before[lane])
        for place, claim in enumerate(claims):
            job = self.jobs[claim.id]
            assert claim.fence == job.fence + 1
            assert claim.deliveries == 1 + job.crashes + job.losses
            job.state, job.holder, job.fence, job.seated = (
                JobState.RUNNING,
                worker.worker_id,
                claim.fence,
                place < room - ahead,
            )
        self.claims[worker.worker_id] += claims
        if len(claims) < room:
            for lane in Lane:
                for job_id in self.waiting(lane):
                    self.skip(self.jobs[job_id])
        else:
            self.skip_what_was_dropped()

    def skip(self, job: Job) -> None:
        if not job.state.final:
            assert job.late
            job.end(JobState.FAILED)
        job.in_stream = False

    def skip_what_was_dropped(self) -> None:
        for lane in Lane:
            streamed = set(self.desk.entries(lane))
            for job_id in self.waiting(lane):
                if job_id not in streamed:
                    self.skip(self.jobs[job_id])

    def is_mine(self, worker: RedisWorkerBroker, claim: Claim) -> bool:
        job = self.jobs[claim.id]
        return job.state is JobState.RUNNING and job.holder == worker.worker_id and job.fence == claim.fence

    @rule(which=st.integers(0, 1), count=numbers)
    def finish(self, which: int, count: int) -> None:
        worker = self.workers[which]
        claims, self.claims[worker.worker_id] = (
            self.claims[worker.worker_id][:count],
            self.claims[worker.worker_id][count:],
        )
        verdicts = worker.finish([answer(claim) for claim in claims])
        for claim, verdict in zip(claims, verdicts, strict=True):
            job = self.jobs[claim.id]
            # The last holder's word counts until somebody else takes the job.
            last = claim.fence == job.fence and not job.state.final
            assert verdict is (last and not job.cancelled)
            if last:
                job.end(JobState.CANCELLED if job.cancelled else JobState.DONE)
                job.holder = ""
        assert worker.finish([answer(claim) for claim in claims]) == verdicts, "saying it twice changes nothing"

    @rule(which=st.integers(0, 1), ahead=st.booleans())
    def renew(self, which: int, ahead: bool) -> None:
        worker = self.workers[which]
        claims = self.claims[worker.worker_id]
        renewal = worker.renew(claims, {claim.id for claim in claims} if ahead else ())
        mine = [claim for claim in claims if self.is_mine(worker, claim)]
        assert sorted(renewal.lost) == sorted(claim.id for claim in claims if claim not in mine)
        assert sorted(renewal.cancelled) == sorted(claim.id for claim in mine if self.jobs[claim.id].cancelled)
        for claim in mine:
            job = self.jobs[claim.id]
            job.seated = not ahead
            if job.cancelled:
                job.end(JobState.CANCELLED)
                job.holder = ""

    @rule(which=st.integers(0, 1), count=numbers)
    def hand_back(self, which: int, count: int) -> None:
        worker = self.workers[which]
        claims = self.claims[worker.worker_id][:count]
        worker.hand_back(claims)
        for claim in claims:
            if self.is_mine(worker, claim):
                self.give_back(self.jobs[claim.id])

    def give_back(self, job: Job) -> None:
        job.holder, job.seated = "", False
        if job.cancelled:
            job.end(JobState.CANCELLED)
        else:
            job.state = JobState.QUEUED

    # Fate

    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        dead = self.workers.pop(which)
        handed_over, buried = self.admin.hand_over(dead.worker_id)
        held = [job for job in self.jobs.values() if job.holder == dead.worker_id]
        outcomes = [self.abandon(job, crash=True) for job in held]
        assert (handed_over, buried) == (outcomes.count(JobState.QUEUED), outcomes.count(JobState.DEAD))
        del self.claims[dead.worker_id]
        dead.close()
        self.hire()

    def abandon(self, job: Job, *, crash: bool) -> JobState:
        if crash and not job.cancelled:
            if job.seated:
                job.crashes += 1
            else:
                job.losses += 1
            if (job.crashes if job.seated else job.losses) >= (CRASHES if job.seated else LOSSES):
                job.end(JobState.DEAD)
                job.holder = ""
                return JobState.DEAD
        self.give_back(job)
        return job.state

    @rule(which=st.integers(0, 1))
    def all_leases_run_out(self, which: int) -> None:
        reclaimer = self.workers[which]
        reclaimer._config = BrokerConfig(
            self.server.url, lease_s=0.0, queue_limit=LIMIT, max_crashes=CRASHES, max_losses=LOSSES
        )
        reclaimer._redis_was_there = lambda: True  # type: ignore[method-assign]
        reclaimer.reclaim({})
        for job in self.jobs.values():
            if job.holder:
                self.abandon(job, crash=job.holder != reclaimer.worker_id)

    @rule()
    def requeue_the_dead(self) -> None:
        for letter in list(self.admin.dead_letters(TASK)):
            job = self.jobs[letter.id]
            verdict = self.admin.requeue(letter)
            if len(self.waiting(job.lane)) >= LIMIT:
                assert verdict is Requeue.FULL
            else:
                assert verdict is Requeue.REQUEUED
                self.jobs[letter.id] = Job(job.lane, fence=job.fence)
                # Its waiter was told, and nobody waits for the second life.
                self.desk.redis.hset(self.desk.keys.job(letter.id), "reply_to", "api")
                self.jobs[letter.id].answered = job.answered

    # What always holds

    @invariant()
    def redis_agrees(self) -> None:
        for job_id, job in self.jobs.items():
            stored = JobState(self.desk.job(job_id)["state"])
            assert stored is job.state
            before = self.seen.get(job_id)
            assert before in (None, stored) or stored in self.reachable(before), f"{before} -> {stored}"
            self.seen[job_id] = stored

    @staticmethod
    def reachable(state: JobState) -> set[JobState]:
        """Within one rule a job may make two steps: handed over, and taken again."""
        once = set(TRANSITIONS[state])
        return once | {far for near in once for far in TRANSITIONS[near]}

    @invariant()
    def depth_is_what_waits(self) -> None:
        for lane in Lane:
            queue = self.desk.keys.queue(TASK, lane)
            if not self.desk.redis.exists(queue):
                continue
            held = [job for job in self.jobs.values() if job.lane is lane and job.holder]
            assert self.desk.redis.xlen(queue) == len(self.waiting(lane)) + len(held)
            assert self.desk.depth(lane) == len(self.waiting(lane))

    @invariant()
    def nobody_is_answered_twice(self) -> None:
        told = [reply["id"] for reply in self.desk.replies()]
        assert {job_id: told.count(job_id) for job_id in self.jobs} == {i: j.answered for i, j in self.jobs.items()}

    def teardown(self) -> None:
        """Whatever happened: two workers that go on answering leave nothing behind."""
        for worker in self.workers:
            self.admin.hand_over(worker.worker_id)
        last = self.hire()
        while claims := last.take({TASK: 3}):
            last.finish([answer(claim) for claim in claims])
        for job_id in self.jobs:
            state = self.desk.state(job_id)
            assert state is not None
            assert state.final
        assert self.desk.is_empty()
        for worker in self.workers:
            worker.close()
        self.admin.close()
        self.desk.close()


@pytest.fixture(autouse=True, scope="module")
def server(redis_server: EmbeddedServer) -> None:
    Queue.server = redis_server


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
