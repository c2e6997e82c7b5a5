"""How the program is called on hostile input, and what is wrong with the way it ends: shared by the campaigns."""

import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
SECONDS, BYTES = 10, 1 << 30
# A text that no message of the program's own holds.
MARK = "Xy"
RUST = re.compile(r"\b(usize|isize|u8|u16|u32|u64|i32|i64|f64|Vec<|Option<|Some\(|None\)|struct [A-Z]\w+|"
                  r"Shape \{|Os \{|panicked|RUST_BACKTRACE|unwrap)")


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Answer:
    """A call of the program: its exit code (none where it was ended after ten seconds of processor time or five minutes),
    what it said, and what it took."""

    def __init__(self, command, here, said=b""):
        began = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as asked:
            asked.write(said)
            asked.seek(0)
            child = subprocess.Popen(command, stdin=asked, stdout=out, stderr=err, cwd=here, preexec_fn=limit)
            late = False
            while True:
                ended, status, usage = os.wait4(child.pid, os.WNOHANG)
                if ended:
                    break
                # Beside others on the machine, the processor's time says what the program took.
                if not late and time.monotonic() - began > SECONDS and (
                        processor_seconds(child.pid) > SECONDS or time.monotonic() - began > 30 * SECONDS):
                    late = True
                    child.kill()
                time.sleep(0.005)
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0), err.seek(0)
            self.out, self.err = out.read(), err.read().decode(errors="replace")
        self.code = None if late else child.returncode
        self.seconds, self.bytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024

    def faults(self, own=""):
        """What is wrong with it; `own` is text that the caller gave and may be quoted whole."""
        faults, text = [], self.err
        if self.code is None:
            faults.append(f"hangs for {SECONDS} s")
        elif self.code not in (0, 1, 2):
            faults.append(f"ends with {self.code}" + (f" ({signal.Signals(-self.code).name})" if self.code < 0 else ""))
        if self.bytes > BYTES:
            faults.append(f"takes {self.bytes >> 20} MB")
        if word := RUST.search(text):
            faults.append(f"says {word.group(0)!r}")
        if any(ord(c) < 32 and c not in "\n\t" or 127 <= ord(c) < 160 for c in text):
            faults.append("says control characters")
        # A path is told whole, wherever it stood.
        if any(run[:82] not in own for run in re.findall(f"(?:{MARK}){{41,}}", re.sub(r"/\S+", "", text))):
            faults.append("quotes much of a file")
        if len(text) > 6000 + 2 * len(own):
            faults.append(f"says {len(text)} bytes")
        if self.code in (1, 2) and "error:" not in text:
            faults.append("says no error")
        return faults


def processor_seconds(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0
