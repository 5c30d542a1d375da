"""Fill an empty database the way AgentOS does: an application with one agent and one team, driven over its HTTP API.

Nothing is named but the database's address, so the tables have agno's own default names. Run as make_generation.py,
in an environment that also has `fastapi`, `uvicorn`, `python-multipart` and `httpx`.
"""

import asyncio
import os
import threading
from http.server import ThreadingHTTPServer

import httpx
from make_generation import TURNS, Model, trim

SHARED = "channel-7"


async def fill(base_url: str, url: str) -> None:
    from agno.agent import Agent
    from agno.db.postgres import AsyncPostgresDb
    from agno.models.openai.like import OpenAILike
    from agno.os import AgentOS
    from agno.team import Team

    db = AsyncPostgresDb(db_url=url.replace("postgresql://", "postgresql+asyncpg://"))
    model = OpenAILike(id="openai/gpt-oss-120b", base_url=base_url, api_key="none")
    agent = Agent(id="helper", name="Helper", model=model, db=db, update_memory_on_run=True, telemetry=False)
    team = Team(id="crew", name="Crew", members=[], model=model, db=db, update_memory_on_run=True, telemetry=False)
    app = AgentOS(agents=[agent], teams=[team], telemetry=False).get_app()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agentos", timeout=60) as client,
    ):
        for user_id, session_id, message in TURNS:
            if session_id == SHARED:  # over HTTP a session has one user; a channel runs the team itself
                await team.arun(message, user_id=user_id, session_id=session_id)
                continue
            form = {"message": message, "stream": "false", "session_id": session_id}
            form |= {"user_id": user_id} if user_id else {}
            (await client.post("/agents/helper/runs", data=form)).raise_for_status()


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["AGNO_TELEMETRY"] = "false"
    asyncio.run(fill(f"http://127.0.0.1:{server.server_port}/v1", os.environ["POSTGRES_URL"]))
    asyncio.run(trim(os.environ["POSTGRES_URL"]))
    server.shutdown()


if __name__ == "__main__":
    main()
