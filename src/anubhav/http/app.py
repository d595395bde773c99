"""The faces of the house under one roof."""

from anubhav.flows.house import House
from anubhav.http import errors
from anubhav.http.anthropic.routes import router as anthropic_router
from anubhav.http.anubhav.administration import router as administration_router
from anubhav.http.anubhav.checkpoints import router as checkpoints_router
from anubhav.http.anubhav.exports import router as exports_router
from anubhav.http.anubhav.judgement import router as judgement_router
from anubhav.http.anubhav.laps import router as laps_router
from anubhav.http.anubhav.looking import router as looking_router
from anubhav.http.anubhav.memory import router as memory_router
from anubhav.http.anubhav.memory_policies import router as memory_policies_router
from anubhav.http.anubhav.operations import router as operations_router
from anubhav.http.anubhav.people import router as people_router
from anubhav.http.anubhav.plans import router as plans_router
from anubhav.http.anubhav.probes import router as probes_router
from anubhav.http.anubhav.releases import router as releases_router
from anubhav.http.anubhav.routes import router as anubhav_router
from anubhav.http.auth import Keyring
from anubhav.http.console.routes import router as console_router
from anubhav.http.description import Faces
from anubhav.http.door import Door
from anubhav.http.ollama.routes import router as ollama_router
from anubhav.http.openai.responses import router as responses_router
from anubhav.http.openai.routes import router as openai_router
from anubhav.http.tinker.routes import hub_router
from anubhav.http.tinker.routes import router as tinker_router


def create_app(house: House, keyring: Keyring, *, hosts: frozenset[str] | None) -> Faces:
    """`hosts`: the Host names to answer to, LOOPBACK when bound to this machine alone, None for any."""
    app = Faces()
    app.state.house = house
    app.state.keyring = keyring
    errors.install(app)
    loop = (laps_router, releases_router, judgement_router, probes_router)
    remembered = (memory_router, memory_policies_router)
    talking = (openai_router, responses_router, anthropic_router, ollama_router)
    looking = (looking_router, checkpoints_router, exports_router, administration_router, plans_router)
    own = (anubhav_router, operations_router, *loop, *looking, people_router, *remembered)
    # Routes are tried in this order: chats come most often.
    for router in (*talking, *own, console_router, tinker_router, hub_router):
        app.include_router(router)
    app.add_middleware(Door, keyring=keyring, hosts=hosts)
    return app
