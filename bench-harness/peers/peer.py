"""Drives one of LangGraph's own savers for chunkpoint-bench, and times it.

The harness starts this program and talks to it in lines of JSON: a request on standard
input, an answer on standard output, whose `binary` field, if it has one, says how many
bytes of data follow the line. Requests carry data the same way. An operation's time is
taken here, around the saver's own call, so it has nothing of the pipe or of this protocol.
Answers are held back while any operation runs, so that handing over one state takes no
time from another that is being loaded.

A message is kept as a `str`: cheaper for a saver than the message objects that agents
commonly keep, so the comparison errs in the savers' favour.
"""

import importlib.metadata
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from langgraph.checkpoint.base import empty_checkpoint

# What LangGraph itself runs savers' calls with, unless the user says: Python's default is
# as many at most.
WORKERS = 32
PACKAGES = ("langgraph-checkpoint", "langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres")


def memory_saver(_):
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver(), lambda: None


def sqlite_saver(place):
    import sqlite3

    from langgraph.checkpoint.sqlite import SqliteSaver

    connection = sqlite3.connect(place["path"], check_same_thread=False)
    saver = SqliteSaver(connection)
    saver.setup()
    # With the log that setup() turns on, FULL is durable when acknowledged; NORMAL is not.
    level = {"disk": "FULL", "process": "NORMAL", "buffered": "OFF"}[place["durability"]]
    connection.execute(f"PRAGMA synchronous = {level}")
    return saver, connection.close


def postgres_saver(place):
    import psycopg
    from psycopg_pool import ConnectionPool

    from langgraph.checkpoint.postgres import PostgresSaver

    schema = place["schema"]
    with psycopg.connect(place["url"], autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    synchronous = "on" if place["durability"] == "disk" else "off"
    settings = {
        # What LangGraph's documentation asks for, and where and how durably.
        "autocommit": True,
        "prepare_threshold": 0,
        "row_factory": psycopg.rows.dict_row,
        "options": f"-c search_path={schema} -c synchronous_commit={synchronous}",
    }
    pool = ConnectionPool(place["url"], kwargs=settings, min_size=1, max_size=10, open=True)
    saver = PostgresSaver(pool)
    saver.setup()
    return saver, pool.close


SAVERS = {"memory": memory_saver, "sqlite": sqlite_saver, "postgres": postgres_saver}


class Thread:
    """What an agent holds of its thread between two steps."""

    def __init__(self, name):
        self.name = name
        self.channels = {}
        self.versions = {}
        self.checkpoint_id = None
        self.step = 0

    def config(self, checkpoint_id=None):
        settings = {"thread_id": self.name, "checkpoint_ns": ""}
        if checkpoint_id:
            settings["checkpoint_id"] = checkpoint_id
        return {"configurable": settings}

    def apply(self, change, data, at, changed):
        """Goes on by one state, whose new bytes begin at `at`; gives where they end."""
        channel = f"messages-{change['channel']}"
        state = self.channels.get(channel, [])[change["dropped"]:]
        for length in change["lengths"]:
            state.append(data[at:at + length].decode())
            at += length
        self.channels[channel] = state
        changed.add(channel)
        if change["scratch"] is not None:
            self.channels["scratch"] = data[at:at + change["scratch"]].decode()
            at += change["scratch"]
            changed.add("scratch")
        self.step += 1
        return at


class Peer:
    def __init__(self, place):
        self.saver, self.close = SAVERS[place["saver"]](place)
        self.threads = {}

    def thread(self, request):
        return self.threads.setdefault(request["thread"], Thread(request["thread"]))

    def put(self, request, data):
        thread = self.thread(request)
        changed, at = set(), 0
        # All but the last are of states that are not saved: the variant is sampled.
        for change in request["changes"]:
            at = thread.apply(change, data, at, changed)
        for channel in changed:
            version = self.saver.get_next_version(thread.versions.get(channel), None)
            thread.versions[channel] = version
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = dict(thread.channels)
        checkpoint["channel_versions"] = dict(thread.versions)
        new_versions = {channel: thread.versions[channel] for channel in changed}
        metadata = {"source": "loop", "step": thread.step, "parents": {}}
        config = thread.config(thread.checkpoint_id)
        start = time.perf_counter_ns()
        stored = self.saver.put(config, checkpoint, metadata, new_versions)
        took = time.perf_counter_ns() - start
        thread.checkpoint_id = stored["configurable"]["checkpoint_id"]
        return {"id": thread.checkpoint_id}, b"", took

    def get(self, request, _):
        config = self.thread(request).config(request["id"])
        start = time.perf_counter_ns()
        found = self.saver.get_tuple(config)
        took = time.perf_counter_ns() - start
        if found is None:
            return {"found": False}, b"", took
        values = found.checkpoint["channel_values"]
        names = sorted(
            (name for name in values if name != "scratch"),
            key=lambda name: int(name.rpartition("-")[2]),
        )
        channels, parts = [], []
        for name in names:
            encoded = [message.encode() for message in values[name]]
            channels.append([int(name.rpartition("-")[2]), [len(one) for one in encoded]])
            parts += encoded
        scratch = values["scratch"].encode() if "scratch" in values else None
        answer = {"found": True, "channels": channels, "scratch": None}
        if scratch is not None:
            answer["scratch"] = len(scratch)
            parts.append(scratch)
        return answer, b"".join(parts), took

    def history(self, request, _):
        found = self.saver.list(self.thread(request).config())
        return {"ids": [one.checkpoint["id"] for one in found]}, b"", 0

    def held(self, _request, _data):
        """Bytes that the saver in memory keeps, by its own serialization."""
        saver = self.saver
        size = sum(len(blob) for _, blob in saver.blobs.values())
        for namespaces in saver.storage.values():
            for checkpoints in namespaces.values():
                for (_, checkpoint), (_, metadata), _ in checkpoints.values():
                    size += len(checkpoint) + len(metadata)
        return {"bytes": size}, b"", 0


class Answers:
    """Writes answers, once nothing runs."""

    def __init__(self, output):
        self.output = output
        self.lock = threading.Lock()
        self.running = 0
        self.waiting = []

    def begin(self):
        with self.lock:
            self.running += 1

    def give(self, answer, data):
        with self.lock:
            self.running -= 1
            self.waiting.append((answer, data))
            if self.running:
                return
            for answer, data in self.waiting:
                answer["binary"] = len(data)
                self.output.write(json.dumps(answer).encode() + b"\n" + data)
            self.waiting.clear()
            self.output.flush()


def perform(operation, request, data, arrived, answers):
    answer = {"number": request["number"]}
    payload = b""
    try:
        given, payload, took = operation(request, data)
        answer |= given
        answer["took_ns"] = took
        answer["response_ns"] = time.perf_counter_ns() - arrived
    except Exception as error:  # the harness reports it, whatever it is
        answer["error"] = f"{type(error).__name__}: {error}"
    answers.give(answer, payload)


def main():
    requests, output = sys.stdin.buffer, sys.stdout.buffer
    place = json.loads(requests.readline())
    peer = Peer(place)
    hello = {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": sys.version.split()[0],
    }
    output.write(json.dumps(hello).encode() + b"\n")
    output.flush()
    answers = Answers(output)
    operations = {"put": peer.put, "get": peer.get, "history": peer.history, "held": peer.held}
    with ThreadPoolExecutor(WORKERS) as pool:
        for line in requests:
            arrived = time.perf_counter_ns()
            request = json.loads(line)
            data = requests.read(request["binary"])
            answers.begin()
            pool.submit(perform, operations[request["op"]], request, data, arrived, answers)
    # The harness has closed its end: nothing is to come, and all is answered.
    peer.close()


main()
