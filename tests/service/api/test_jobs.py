"""`/jobs`: asked for now, fetched later, by whoever made it."""

import uuid

from service.broker.records import Claim, Finished, JobState
from service.problems import ProblemKind
from tests.conftest import PUZZLE
from tests.service.api.conftest import Api, ServeApi, problem, until
from tests.service.api.scripted import SOLUTION, ScriptedWorker, failed, held, solved

BODY = {"task": "sudoku", "puzzle": PUZZLE}


async def state(api: Api, location: str) -> str:
    return str((await api.http.get(location)).json()["state"])


async def until_state(api: Api, location: str, wanted: str) -> None:
    while await state(api, location) != wanted:
        pass


async def test_the_life_of_a_job(api: Api, worker: ScriptedWorker) -> None:
    worker.script = held
    created = await api.http.post("/jobs", json=BODY)
    assert (created.status_code, created.json()["state"]) == (202, "queued")
    location = created.headers["Location"]
    assert location == f"/jobs/{created.json()['id']}"

    await until_state(api, location, "running")
    worker.script = solved
    await until_state(api, location, "done")
    job = (await api.http.get(location)).json()
    assert (job["answer"]["solution"], "error" in job) == (SOLUTION, False)
    assert worker.seen[0].deadline_in_s > 3600


async def test_a_job_that_failed_shows_its_problem(api: Api, worker: ScriptedWorker) -> None:
    worker.script = failed(ProblemKind.DEADLINE)
    location = (await api.http.post("/jobs", json=BODY)).headers["Location"]
    await until_state(api, location, "failed")
    job = (await api.http.get(location)).json()
    assert (job["error"]["type"], "answer" in job) == ("urn:hrm:problem:deadline", False)


async def test_a_job_that_was_given_up_shows_why(api: Api, worker: ScriptedWorker) -> None:
    def poison(claim: Claim) -> Finished:
        payload = ProblemKind.DEAD_LETTER.problem("too many workers died").model_dump_json().encode()
        return Finished(claim.id, claim.fence, JobState.DEAD, payload)

    worker.script = poison
    location = (await api.http.post("/jobs", json=BODY)).headers["Location"]
    await until_state(api, location, "dead")
    assert (await api.http.get(location)).json()["error"]["type"] == "urn:hrm:problem:dead-letter"
    assert problem(await api.http.post("/solve", json=BODY))["status"] == 500


async def test_a_job_can_be_cancelled_until_it_has_ended(api: Api, worker: ScriptedWorker) -> None:
    worker.script = held
    location = (await api.http.post("/jobs", json=BODY)).headers["Location"]
    await until(lambda: worker.held)
    assert (await api.http.delete(location)).status_code == 200
    await until_state(api, location, "cancelled")
    assert worker.cancelled == [worker.seen[0].id]

    worker.script = solved
    location = (await api.http.post("/jobs", json=BODY)).headers["Location"]
    await until_state(api, location, "done")
    assert (await api.http.delete(location)).json()["state"] == "done"


async def test_a_repeated_job_is_the_first_one(api: Api, worker: ScriptedWorker) -> None:
    first, second = [await api.http.post("/jobs", json=BODY, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert (second.status_code, second.headers["Location"]) == (202, first.headers["Location"])


async def test_a_job_belongs_to_the_key_that_made_it(serve_api: ServeApi) -> None:
    api = await serve_api(api_keys="alice:a-secret,bob:b-secret")
    alice, bob = {"Authorization": "Bearer a-secret"}, {"Authorization": "Bearer b-secret"}
    location = (await api.http.post("/jobs", json=BODY, headers=alice)).headers["Location"]
    assert problem(await api.http.get(location, headers=bob))["type"] == "urn:hrm:problem:unknown-job"
    assert problem(await api.http.delete(location, headers=bob))["status"] == 404
    assert (await api.http.get(location, headers=alice)).json()["state"] == "queued"


async def test_an_unknown_job_is_not_found(api: Api) -> None:
    for job_id in (str(uuid.uuid4()), "x", "%00", "a" * 64):
        assert problem(await api.http.get(f"/jobs/{job_id}"))["status"] == 404
    assert problem(await api.http.get(f"/jobs/{'a' * 65}"))["status"] == 422


async def test_a_job_waits_although_no_worker_lives(api: Api, make_worker: type[ScriptedWorker]) -> None:
    location = (await api.http.post("/jobs", json=BODY)).headers["Location"]
    assert await state(api, location) == "queued"
    make_worker().start()
    await until_state(api, location, "done")
