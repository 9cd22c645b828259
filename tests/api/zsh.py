# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What an interactive zsh offers when Tab is pressed."""

import os
import pty
import select
import signal
import time

# compadd is what every completion ends in: this one writes down what is offered. _main_complete is
# what Tab runs; lists are for people. compinit reads each file of fpath, a thousand of them: it gets
# ours and the basis, and what those call is loaded by its name.
SETUP = r"""
setopt extendedglob
PS1=
all=($fpath)
fpath=({completion} ${{(M)all:#*/Completion(|/Base)}})
autoload -U compinit
compinit -u -D
fpath+=($all)
autoload -U $^all/_*(N:t)
compadd() {{
	local -a offered
	if [[ " ${{(j: :)@[1,(i)(-|--)]}} " != *" -"[a-zA-Z]#[OAD]" "* ]]; then
		builtin compadd -A offered "$@"
		(( $#offered )) && print -rl -- "${{offered[@]}}" >>{work}/offered.new
	fi
	builtin compadd "$@"
}}
only_look() {{
	_main_complete
	compstate[list]= compstate[insert]=
}}
zle -C only-look complete-word only_look
ask() {{
	BUFFER=$(<{work}/line)
	BUFFER=${{BUFFER%.}}
	CURSOR=$#BUFFER
	: >{work}/offered.new
	zle only-look
	mv {work}/offered.new {work}/offered
	BUFFER=
}}
zle -N ask
bindkey '^I' ask
: >{work}/offered
"""


class Zsh:
    """with Zsh(directory of _vmmctl, a directory for its files, environment) as zsh: zsh.offers(line)"""

    def __init__(self, completion, work, environment):
        self.work = work
        self.text = b""
        (work / "rc").write_text(SETUP.format(completion=completion, work=work))
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(work)
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**environment, "TERM": "dumb"})

    def __enter__(self):
        self.ask(f"source {self.work}/rc\n")
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def ask(self, keys):
        """Types them, and returns the lines of the file that comes of it."""
        answer = self.work / "offered"
        end = time.monotonic() + 120
        os.write(self.fd, keys.encode())
        while not answer.exists():
            if time.monotonic() > end:
                raise TimeoutError(f"zsh does not answer: {self.text[-2000:]!r}")
            if select.select([self.fd], [], [], 0.01)[0]:
                self.text += os.read(self.fd, 65536)
        lines = answer.read_text().splitlines()
        answer.unlink()
        return set(lines)

    def offers(self, line):
        # The dot keeps the blank at the end.
        (self.work / "line").write_text(line + ".")
        return self.ask("\t")
