#!/usr/bin/env python3
"""A stand-in for the OpenAI Realtime API (GA) on a loopback WebSocket.

  openai_realtime.py --log FILE [--key KEY] [--model MODEL]

It prints `listening PORT` and writes one JSON line for each thing that happened. Every
client event is checked against the types of the official `openai` package, and so is every
event that it sends; a field that those types do not know is an error.

What it does: energy VAD on the caller's G.711 µ-law; turn 1 is answered with three seconds
of a tone, sent at once; speech during the tone is a barge-in; turn 2 is answered with a call
of the function `transfer_call`; the function's output is answered with a second tone.
"""
import argparse, asyncio, base64, json, math
from urllib.parse import parse_qs, urlsplit

from openai.types import realtime
from pydantic import BaseModel, TypeAdapter, ValidationError
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

CLIENT = TypeAdapter(realtime.RealtimeClientEvent)
SERVER = TypeAdapter(realtime.RealtimeServerEvent)
LOUD = 1500           # mean amplitude that is speech
QUIET_MS = 200        # of silence end a turn


def ulaw(byte):
    u = ~byte & 0xFF
    value = (((u & 0x0F) << 3) + 0x84 << ((u >> 4) & 7)) - 0x84
    return -value if u & 0x80 else value


def to_ulaw(sample):
    sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
    magnitude = min(magnitude, 32635) + 132
    exponent = max(0, magnitude.bit_length() - 8)
    return ~(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 0x0F) & 0xFF


def tone(hz, ms):
    return bytes(to_ulaw(int(8000 * math.sin(2 * math.pi * hz * i / 8000))) for i in range(ms * 8))


def unknown(model, path=""):
    """Fields that the official types do not have."""
    found = []
    if isinstance(model, BaseModel):
        found += [f"{path}.{k}" for k in (model.model_extra or {})]
        for name in type(model).model_fields:
            found += unknown(getattr(model, name), f"{path}.{name}")
    elif isinstance(model, list):
        for i, item in enumerate(model):
            found += unknown(item, f"{path}[{i}]")
    return found


class Session:
    def __init__(self, socket, args, log):
        self.socket, self.args, self.log = socket, args, log
        self.serial = self.turn = 0
        self.speaking, self.quiet_ms, self.heard_ms = False, 0, 0
        self.sent_ms = {}          # item id -> ms of audio sent
        self.session = None

    def id(self, kind):
        self.serial += 1
        return f"{kind}_{self.serial}"

    async def send(self, type, **fields):
        event = {"type": type, "event_id": self.id("event"), **fields}
        SERVER.validate_python(event)
        if type != "response.output_audio.delta":
            self.log({"sent": event})
        await self.socket.send(json.dumps(event))

    async def run(self):
        request = self.socket.request
        query = parse_qs(urlsplit(request.path).query)
        self.log({"opened": request.path, "authorization": request.headers.get("Authorization"), "beta": request.headers.get("OpenAI-Beta")})
        if request.headers.get("Authorization") != f"Bearer {self.args.key}" or query.get("model") != [self.args.model]:
            await self.socket.close(3000, "invalid_request_error")
            return
        await self.send("session.created", session={"type": "realtime", "model": self.args.model})
        async for message in self.socket:
            await self.receive(json.loads(message))
        self.log({"closed": self.socket.close_code, "heard_ms": self.heard_ms})

    async def receive(self, raw):
        try:
            event = CLIENT.validate_python(raw)
            extra = unknown(event)
        except ValidationError as error:
            extra = [str(error)]
        if extra:
            self.log({"invalid": raw, "why": extra})
            await self.send("error", error={"type": "invalid_request_error", "message": f"unknown: {extra}", "event_id": raw.get("event_id")})
            return
        if raw["type"] != "input_audio_buffer.append":
            self.log({"received": raw})
        match raw["type"]:
            case "session.update":
                self.session = raw["session"]
                await self.send("session.updated", session=raw["session"])
            case "input_audio_buffer.append":
                await self.audio(base64.b64decode(raw["audio"], validate=True))
            case "conversation.item.truncate":
                sent = self.sent_ms.get(raw["item_id"], 0)
                if not 0 <= raw["audio_end_ms"] <= sent:
                    self.log({"invalid": raw, "why": [f"audio_end_ms beyond the {sent} ms that were sent"]})
                await self.send("conversation.item.truncated", item_id=raw["item_id"], content_index=0, audio_end_ms=raw["audio_end_ms"])
            case "conversation.item.create":
                item = {"id": self.id("item"), **raw["item"]}
                await self.send("conversation.item.added", item=item)
                await self.send("conversation.item.done", item=item)
            case "response.create":
                await self.speak(600, 1500, "Goodbye.")

    async def audio(self, data):
        if self.session is None:
            self.log({"invalid": "audio before session.update", "why": ["order"]})
            return
        for at in range(0, len(data), 160):
            frame = data[at:at + 160]
            self.heard_ms += len(frame) // 8
            loud = sum(abs(ulaw(b)) for b in frame) / max(1, len(frame)) > LOUD
            if loud and not self.speaking:
                self.speaking, self.item = True, self.id("item")
                await self.send("input_audio_buffer.speech_started", audio_start_ms=self.heard_ms, item_id=self.item)
            self.quiet_ms = 0 if loud else self.quiet_ms + len(frame) // 8
            if self.speaking and self.quiet_ms >= QUIET_MS:
                self.speaking = False
                await self.send("input_audio_buffer.speech_stopped", audio_end_ms=self.heard_ms, item_id=self.item)
                await self.send("input_audio_buffer.committed", item_id=self.item, previous_item_id=None)
                await self.send("conversation.item.input_audio_transcription.completed", item_id=self.item, content_index=0,
                                transcript=f"turn {self.turn + 1}", usage={"type": "duration", "seconds": 1})
                self.turn += 1
                if self.turn == 1:
                    await self.speak(440, 3000, "Welcome to the demo.")
                else:
                    await self.call_function()

    async def speak(self, hz, ms, text):
        response, item = self.id("resp"), self.id("item")
        await self.send("response.created", response={"id": response, "object": "realtime.response", "status": "in_progress", "output": []})
        audio = tone(hz, ms)
        self.sent_ms[item] = ms
        for at in range(0, len(audio), 1600):
            await self.send("response.output_audio.delta", response_id=response, item_id=item, output_index=0, content_index=0,
                            delta=base64.b64encode(audio[at:at + 1600]).decode())
        await self.send("response.output_audio.done", response_id=response, item_id=item, output_index=0, content_index=0)
        await self.send("response.output_audio_transcript.done", response_id=response, item_id=item, output_index=0, content_index=0, transcript=text)
        await self.send("response.done", response={"id": response, "object": "realtime.response", "status": "completed", "output": []})

    async def call_function(self):
        response, item, call = self.id("resp"), self.id("item"), self.id("call")
        await self.send("response.created", response={"id": response, "object": "realtime.response", "status": "in_progress", "output": []})
        await self.send("response.function_call_arguments.done", response_id=response, item_id=item, output_index=0, call_id=call,
                        name="transfer_call", arguments=json.dumps({"to": "1000"}))
        await self.send("response.done", response={"id": response, "object": "realtime.response", "status": "completed", "output": [
            {"type": "function_call", "id": item, "call_id": call, "name": "transfer_call", "arguments": json.dumps({"to": "1000"})}]})


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--key", default="sk-test-0123456789")
    parser.add_argument("--model", default="gpt-realtime")
    args = parser.parse_args()
    out = open(args.log, "a", buffering=1)

    def log(entry):
        out.write(json.dumps(entry) + "\n")

    async def session(socket):
        try:
            await Session(socket, args, log).run()
        except ConnectionClosed as closed:               # the caller's side may leave at any time
            log({"closed": str(closed)})
        except Exception as error:                       # a bug of the stand-in fails the test
            log({"standin_failed": repr(error)})
            raise

    async with serve(session, "127.0.0.1", 0) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
