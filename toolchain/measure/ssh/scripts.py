"""What runs on the board: scripts for POSIX sh (dash, busybox), and what their answers mean.

A script answers in lines ``fednas NAME VALUE``, so that whatever else a login prints is passed over. Values that a
script is made with are quoted; a folder is one that `FOLDER` accepts, because folders are removed.
"""

import re
import shlex
from collections.abc import Mapping

_FUNCTIONS = r"""
say() { printf 'fednas %s %s\n' "$1" "$2"; }
free_kib() { set -- $(df -Pk "$1" 2>/dev/null | tail -n 1); case "$4" in *[!0-9]*) ;; *) echo "$4";; esac; }
nap() { sleep 0.1 2>/dev/null || sleep 1; }
# Alive, and ours: after a restart of the board another process may have the number.
ours() {
    case "$1" in ''|*[!0-9]*) return 1;; esac
    kill -0 "$1" 2>/dev/null || return 1
    [ ! -r "/proc/$1/cmdline" ] || grep -q "$dir" "/proc/$1/cmdline" 2>/dev/null
}
"""

FOLDER = re.compile(r"/(?:(?!\.\.?/)[A-Za-z0-9_.-]+/)*fednas-[A-Za-z0-9]{6,16}")
"""The only folders that are written to or removed on a board."""

PROBE = (
    _FUNCTIONS
    + r"""
python=@PYTHON@
case "$python" in '~/'*) python="$HOME/${python#??}";; esac
say python "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' </dev/null 2>/dev/null)"
model=$( { tr -d '\000' </proc/device-tree/model; } 2>/dev/null )
[ -n "$model" ] || model=$( { sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1; } 2>/dev/null )
say model "${model:-$(uname -m)}"
"""
)
"""Which Python and which processor the board has."""

MAKE_FOLDER = (
    _FUNCTIONS
    + r"""
for base in "${TMPDIR:-/tmp}" /var/tmp "$HOME"; do
    [ -d "$base" ] && [ -w "$base" ] || continue
    free=$(free_kib "$base")
    if [ "${free:-0}" -ge @KIB@ ]; then
        dir=$(mktemp -d "${base%/}/fednas-XXXXXXXX") && say folder "$dir" && exit 0
    fi
    say short "$free KiB in $base"
done
exit 3
"""
)
"""A temporary folder where there is room for it."""

CLEAR_KIT = (
    _FUNCTIONS
    + r"""
dir=@DIR@
[ -d "$dir" ] || { say state gone; exit 0; }
rm -rf "$dir/kit" && say state cleared
"""
)
"""Remove what an interrupted transfer left."""

START = (
    _FUNCTIONS
    + r"""
dir=@DIR@
python=@PYTHON@
case "$python" in '~/'*) python="$HOME/${python#??}";; esac
[ -d "$dir/kit" ] || { say state gone; exit 0; }
if ours "$(cat "$dir/pid" 2>/dev/null)"; then say state running; exit 0; fi
if [ "$(cat "$dir/exit" 2>/dev/null)" = 0 ] && [ "$(cat "$dir/seconds" 2>/dev/null)" = @SECONDS@ ] &&
    [ -s "$dir/kit/results.json" ]; then say state ended; exit 0; fi
rm -f "$dir/pid" "$dir/exit"
echo @SECONDS@ >"$dir/seconds"
detach=
command -v setsid >/dev/null 2>&1 && detach=setsid
$detach sh -c '
    trap "" HUP
    # What a runtime leaves in the temporary folder goes away with ours.
    TMPDIR="$0"
    export TMPDIR
    cd "$0/kit" || exit 1
    "$1" "$0/kit/measure.py" --seconds "$2" >>"$0/log" 2>&1 &
    echo $! >"$0/child"
    echo $$ >"$0/pid"
    wait $!
    echo $? >"$0/exit"
' "$dir" "$python" @SECONDS@ </dev/null >/dev/null 2>&1 &
turn=0
while [ $turn -lt 50 ]; do
    [ -s "$dir/pid" ] && { say state running; exit 0; }
    nap
    turn=$((turn + 1))
done
[ -d "$dir/kit" ] && say state dead || say state gone
say free "$(free_kib "$dir")"
"""
)
"""Run the kit so that it outlives this login, unless it has measured for these seconds already."""

STATUS = (
    _FUNCTIONS
    + r"""
dir=@DIR@
[ -d "$dir/kit" ] || { say state gone; exit 0; }
if ours "$(cat "$dir/pid" 2>/dev/null)"; then say state running
elif [ -s "$dir/exit" ]; then say state ended; say code "$(cat "$dir/exit")"
else say state dead
fi
say line "$(tail -n 1 "$dir/log" 2>/dev/null | cut -c 1-300)"
say readings "$(wc -c <"$dir/kit/readings.partial" 2>/dev/null)"
say free "$(free_kib "$dir")"
"""
)
"""How far the measuring is."""

FINISH = (
    _FUNCTIONS
    + r"""
dir=@DIR@
stop() {
    ours "$(cat "$dir/pid" 2>/dev/null)" || return 0
    kill "-$1" $(cat "$dir/child" 2>/dev/null) 2>/dev/null
    turn=0
    while [ $turn -lt 50 ]; do
        ours "$(cat "$dir/pid" 2>/dev/null)" || return 0
        nap
        turn=$((turn + 1))
    done
    return 1
}
cd /
[ -d "$dir" ] || { say state gone; exit 0; }
stop TERM || stop KILL
if [ @KEEP@ = yes ] && [ -s "$dir/kit/readings.partial" ]; then say state kept; exit 0; fi
rm -rf "$dir" && say state removed
"""
)
"""Stop what runs, and remove the folder unless readings in it are to be kept."""


def script(template: str, **values: object) -> str:
    """A template with its ``@NAME@`` filled in, quoted for the shell."""
    for name, value in values.items():
        template = template.replace(f"@{name.upper()}@", shlex.quote(str(value)))
    return template


def answers(text: str) -> Mapping[str, str]:
    """What a script said; of several lines of one name, the last."""
    found = {}
    for line in text.splitlines():
        mark, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        if mark == "fednas":
            found[name] = value.strip()
    return found
