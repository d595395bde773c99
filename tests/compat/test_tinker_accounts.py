"""Sessions and accounts through the unmodified SDK's RestClient and AdminClient, over the fake backend."""

import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import tinker
from tinker import types

pytestmark = pytest.mark.tinker_sdk

MODEL = "tiny"
DATUM = types.Datum(
    model_input=types.ModelInput.from_ints([1, 2, 3, 4, 5]),
    loss_fn_inputs={"target_tokens": [2, 3, 4, 5, 6], "weights": [0.0, 1.0, 1.0, 0.5, 1.0]},
)
HOUR = timedelta(hours=1)


@pytest.fixture
def rest(tinker_server: Any) -> tinker.RestClient:
    return tinker.RestClient(base_url=tinker_server.url, api_key=tinker_server.key)


@pytest.fixture
def stranger(tinker_server: Any) -> tinker.RestClient:
    return tinker.RestClient(base_url=tinker_server.url, api_key=tinker_server.add_key("stranger"))


def session_of(trainer: tinker.TrainingClient) -> str:
    return trainer.model_id.partition(":train:")[0]


def test_sessions_are_listed_moved_and_searched(
    tinker_server: Any, stranger: tinker.RestClient, rest: tinker.RestClient
) -> None:
    with tinker.ServiceClient(
        base_url=tinker_server.url,
        api_key=tinker_server.key,
        project_id="proj-a",
        user_metadata={"team": "blue"},
        display_name="Nightly sums",
    ) as service:
        trainer = service.create_lora_training_client(MODEL, rank=4).result()
        session = session_of(trainer)
        sampler = trainer.save_weights_and_get_sampling_client().result()
        assert session in rest.list_sessions(limit=100).result().sessions
        found = rest.get_session(session).result()
        assert found.training_run_ids == [trainer.model_id]
        assert len(found.sampler_ids) == 1
        assert (found.user_metadata, found.display_name) == ({"team": "blue"}, "Nightly sums")
        assert sampler is not None
        (open_one,) = search(rest, display_name="SUMS night", user_metadata={"team": "blue"})
        assert (open_one.session_id, open_one.project_id) == (session, "proj-a")
        assert isinstance(open_one.status, types.SessionActive)
        rest.assign_session_project(session, "proj-b").result()
        runs = rest.list_training_runs(project_id="proj-b").result().training_runs
        assert [run.training_run_id for run in runs] == [trainer.model_id]
    (ended,) = search(rest, session_id=session)
    assert ended.project_id == "proj-b"
    assert isinstance(ended.status, types.ClientSessionFinished)
    assert ended.status.reason.type == "success"
    assert ended.checkpoints_count == 1
    assert ended.checkpoint_storage_bytes
    done = types.ClientFinishedSessionStatusQuery(reasons=["success"])
    assert search(rest, session_id=session, statuses=[done])
    assert not search(rest, session_id=session, statuses=[types.ActiveSessionStatusQuery()])
    assert not search(rest, project_ids=["proj-a"])
    assert not search(rest, user_metadata={"team": "red"}, session_id=session)
    assert not search(stranger, session_id=session)
    for refused in (stranger.get_session(session), stranger.assign_session_project(session, "mine")):
        with pytest.raises(tinker.NotFoundError):
            refused.result()
    with pytest.raises(tinker.NotFoundError):
        stranger.export_session_trace(session).result()


def search(rest: tinker.RestClient, **wanted: Any) -> list[types.SessionSummary]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rest.search_sessions(types.SessionSearchRequest(**wanted)).result().sessions


def test_search_pages_meet_every_session_once(tinker_server: Any, rest: tinker.RestClient) -> None:
    made = set()
    for _ in range(5):
        with tinker.ServiceClient(
            base_url=tinker_server.url, api_key=tinker_server.key, display_name="pages"
        ) as service:
            made.add(session_of(service.create_lora_training_client(MODEL, rank=4).result()))
    seen: list[str] = []
    request = types.SessionSearchRequest(display_name="pages", limit=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while True:
            page = rest.search_sessions(request).result()
            seen += [one.session_id for one in page.sessions]
            if page.next_cursor is None:
                break
            request = request.model_copy(update={"cursor": page.next_cursor})
    assert len(seen) == 5
    assert set(seen) == made


def test_usage_is_what_was_done(tinker_server: Any) -> None:
    key = tinker_server.add_key("payer")
    with tinker.ServiceClient(
        base_url=tinker_server.url, api_key=key, project_id="paid", user_metadata={"who": "me"}
    ) as service:
        trainer = service.create_lora_training_client(MODEL, rank=4).result()
        for _ in range(3):
            trainer.forward_backward([DATUM], "cross_entropy").result()
        path = trainer.save_state("kept").result().path
        admin = tinker.AdminClient(base_url=tinker_server.url, api_key=key)
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        bill = admin.get_billing_usage(hour - HOUR, hour + 2 * HOUR).result()
        training = [one for one in bill.data if isinstance(one.event_info, types.TrainingBillingEvent)]
        assert sum(one.event_info.token_count for one in training) == 15
        assert {(one.session_id, one.base_model, one.project_id) for one in training} == {
            (session_of(trainer), MODEL, "paid")
        }
        assert bill.sessions[session_of(trainer)].user_metadata == {"who": "me"}
        saved = [one.event_info.count for one in bill.data if isinstance(one.event_info, types.CheckpointBillingEvent)]
        assert sum(saved) == 1
        (stored,) = admin.get_current_checkpoint_storage_usage("paid").result().data
        own = tinker.RestClient(base_url=tinker_server.url, api_key=key)
        (kept,) = own.list_checkpoints(trainer.model_id).result().checkpoints
        assert (stored.checkpoint_count, stored.size_bytes) == (1, kept.size_bytes)
        assert not admin.get_current_checkpoint_storage_usage("other").result().data
        for wrong in ((hour + timedelta(minutes=5), hour + HOUR), (hour + HOUR, hour), (hour - 400 * HOUR, hour)):
            with pytest.raises(tinker.BadRequestError):
                admin.get_billing_usage(*wrong).result()
        own.publish_checkpoint_from_tinker_path(path).result()
        own.delete_checkpoint_from_tinker_path(path).result()
        assert not admin.get_current_checkpoint_storage_usage().result().data
        entries = admin.get_audit_log("checkpoints").result().entries
        assert [(one.event, one.tinker_path) for one in entries] == [
            ("checkpoint_create", path),
            ("checkpoint_publish", path),
            ("checkpoint_delete", path),
        ]
        assert not admin.get_audit_log("teams").result().entries
        assert not admin.get_audit_log(day=(hour - 48 * HOUR).date()).result().entries
    others = tinker.AdminClient(base_url=tinker_server.url, api_key=tinker_server.add_key("nobody"))
    assert [one.event for one in others.get_audit_log().result().entries] == ["key_create"]
    assert not others.get_billing_usage(hour - HOUR, hour + 2 * HOUR).result().data
