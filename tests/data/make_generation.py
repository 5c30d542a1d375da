"""Fill an empty database the way a bot of the installed agno does: invented people, a model server that plays a part.

Run with an interpreter that has the agno in question (see README.md); POSTGRES_URL names the empty database.
"""

import asyncio
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REMEMBERED = {
    "My name is Ada and I prefer tea": ("Ada is called Ada and prefers tea", ["name", "drinks"]),
    "I play the cello": ("Ada plays the cello", ["music"]),
    "I am Bob, I live in Kraków 🏰": ("Bob lives in Kraków 🏰", ["name", "place"]),
    "Nobody knows me": ("Somebody without a name was here", None),
}
TURNS = [
    ("ada", "c1", "My name is Ada and I prefer tea"),
    ("ada", "c1", "Who am I?"),
    ("bob", "c2", "I am Bob, I live in Kraków 🏰"),
    ("ada", "channel-7", "I play the cello"),
    ("bob", "channel-7", "Nice, Ada"),
    ("bob", "channel-7", "What does Ada play?"),
    (None, "nobody", "Nobody knows me"),
]


class Model(BaseHTTPRequestHandler):
    """An OpenAI-compatible server of one turn: it remembers what REMEMBERED says, and answers everything else."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = answer(request)
        body = json.dumps(completion(request, message)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep stderr for failures."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    tools = [tool["function"]["name"] for tool in request.get("tools") or []]
    said = str(request["messages"][-1].get("content"))
    if "add_memory" not in tools:
        return {"role": "assistant", "content": "I see."}
    if request["messages"][-1]["role"] == "tool" or said not in REMEMBERED:
        return {"role": "assistant", "content": "Done."}
    memory, topics = REMEMBERED[said]
    arguments = {"memory": memory, **({"topics": topics} if topics else {})}
    call = {"id": "call_1", "type": "function", "function": {"name": "add_memory", "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def completion(request: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


async def trim(url: str) -> None:
    """Take agno's own instructions out of the stored runs: they are long, and not ours."""
    import asyncpg

    connection = await asyncpg.connect(url)
    columns = await connection.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'ai' AND column_name IN ('runs', 'run_data')"
    )
    for table, column, kind in columns:
        rows = await connection.fetch(f"SELECT ctid::text AS at, {column}::text AS runs FROM ai.{table}")
        for row in rows:
            runs = json.loads(row["runs"] or "null")
            for run in runs if isinstance(runs, list) else [runs] if runs else []:
                for message in run.get("messages") or []:
                    if message["role"] == "system":
                        message["content"] = "(instructions)"
            text = json.dumps(runs)
            await connection.execute(
                f"UPDATE ai.{table} SET {column} = $1::text::{kind} WHERE ctid = $2::text::tid", text, row["at"]
            )
    await connection.close()


async def fill(base_url: str, url: str) -> None:
    from agno.db.postgres import AsyncPostgresDb
    from agno.memory import MemoryManager
    from agno.models.openai.like import OpenAILike
    from agno.team import Team

    db = AsyncPostgresDb(
        db_url=url.replace("postgresql://", "postgresql+asyncpg://"),
        db_schema="ai",
        session_table="agent_sessions",
        memory_table="user_memories",
    )
    model = OpenAILike(id="openai/gpt-oss-120b", base_url=base_url, api_key="none")
    common: dict[str, Any] = {"telemetry": False, "db": db, "memory_manager": MemoryManager(model=model, db=db)}
    try:
        team = Team(name="Hero Team", members=[], model=model, enable_user_memories=True, **common)
    except TypeError:  # agno 3 gave the argument another name
        team = Team(name="Hero Team", members=[], model=model, update_memory_on_run=True, **common)
    for user_id, session_id, message in TURNS:
        await team.arun(message, user_id=user_id, session_id=session_id)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["AGNO_TELEMETRY"] = "false"
    asyncio.run(fill(f"http://127.0.0.1:{server.server_port}/v1", os.environ["POSTGRES_URL"]))
    asyncio.run(trim(os.environ["POSTGRES_URL"]))
    server.shutdown()


if __name__ == "__main__":
    main()
