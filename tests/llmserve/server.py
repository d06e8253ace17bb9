"""A llmserve that tests talk to: started with a plan of the demo model, ended at the end."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What the conversation's template makes of messages is easily made by hand.
TEMPLATE = "{% for m in messages %}{% if m.content == 'refuse' %}{{ raise_exception('not this') }}{% endif %}{{ m.content }}{% endfor %}"


def compile_demo(build, folder, *flags):
    """A plan of the demo model with a chat template, in f32: every CPU tells the same stories."""
    model, plan = pathlib.Path(folder) / "model", pathlib.Path(folder) / "demo.fb"
    subprocess.run(["cp", "-r", str(ROOT / "models/demo"), str(model)], check=True)
    (model / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    subprocess.run([str(build / "bin/llmc"), "compile", str(model), "-o", str(plan), "--dtype", "f32", "--max-batch", "8", *flags],
                   check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return plan


class Server:
    def __init__(self, build, *arguments):
        self.log = tempfile.TemporaryFile("w+")
        # As under systemd, whoever reads its log may go; no signal tells it so.
        self.process = subprocess.Popen([str(build / "bin/llmserve"), *map(str, arguments), "--port", "0"], stderr=subprocess.PIPE,
                                        preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN))
        self.reader = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=self.log)
        self.process.stderr.close()
        deadline = time.monotonic() + 120
        while True:
            found = re.search(r"^http://([\d.]+):(\d+): serving", self.errors(), re.M)
            if found:
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("llmserve did not start: " + self.errors())
            time.sleep(0.02)
        self.address = (found[1], int(found[2]))
        self.url = f"http://{found[1]}:{found[2]}"

    def stop_reading(self):
        self.reader.kill()
        self.reader.wait()

    def errors(self):
        with open(f"/proc/self/fd/{self.log.fileno()}", encoding="utf-8", errors="replace") as f:
            return f.read()

    def end(self, number=signal.SIGTERM, seconds=20):
        """The exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        self.reader.wait()
        return self.process.returncode

    def request(self, path, body=None, headers=None, method=None):
        """(status, headers, what came). A body is JSON, unless it is bytes."""
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def json(self, path, body=None, **options):
        status, _, text = self.request(path, body, **options)
        if status != 200:
            raise AssertionError(f"{path}: {status} {text.decode()}")
        return json.loads(text)

    def events(self, path, body):
        """The events of a stream, without the last: [DONE]."""
        status, headers, text = self.request(path, body)
        assert status == 200 and headers["Content-Type"] == "text/event-stream", (status, text)
        lines = [line for line in text.decode().split("\n\n") if line and not line.startswith(":")]
        assert all(line.startswith("data: ") for line in lines), lines
        assert lines[-1] == "data: [DONE]", lines[-1]
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]

    def raw(self, data, seconds=20, shut=False):
        """All that comes for these bytes, until the server closes or a moment passes without more."""
        with socket.create_connection(self.address, timeout=seconds) as s:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
            out = b""
            try:
                while piece := s.recv(65536):
                    out += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return out

    def metric(self, name):
        """The sum of a metric's values."""
        text = self.request("/metrics")[2].decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(re.escape(name) + r"(\{.*\})? ", line))

    def in_hand(self):
        """Sequences that run or wait."""
        return self.metric("llmserve_running_requests") + self.metric("llmserve_waiting_requests")

    def wait_until(self, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("it never became so")
            time.sleep(0.01)

    def metric_of(self, name, label):
        """The value of a metric that has this label."""
        text = self.request("/metrics")[2].decode()
        return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + "{") and label in line)

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def resident_bytes(self):
        """Anonymous memory: weights and plan are mapped files."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"^RssAnon:\s+(\d+)", text, re.M)[1])

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))
