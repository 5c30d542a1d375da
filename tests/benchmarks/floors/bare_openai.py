"""One streamed answer by the openai client alone, from the server in CUSTOM_PROVIDER."""

import asyncio
import os
import sys

from openai import AsyncOpenAI


async def main() -> None:
    client = AsyncOpenAI(base_url=os.environ["CUSTOM_PROVIDER"], api_key=os.environ["CUSTOM_PROVIDER_API_KEY"])
    stream = await client.chat.completions.create(
        model=os.environ["CUSTOM_MODEL"], messages=[{"role": "user", "content": "hello"}], stream=True
    )
    async for chunk in stream:
        if chunk.choices:
            sys.stdout.write(chunk.choices[0].delta.content or "")
    sys.stdout.write("\n")


if __name__ == "__main__":
    asyncio.run(main())
