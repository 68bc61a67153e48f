# SPDX-License-Identifier: BSD-2-Clause
# The first login shell on the console shows what serai.run=PROGRAM:ARGUMENT:... on the kernel's
# command line asks for.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PS1='serai# '
stty cols 120 rows 40 2>/dev/null
run=$(sed -n 's/.*serai\.run=\([^ ]*\).*/\1/p' /proc/cmdline | tr : ' ')
if [ -n "$run" ]; then
    if mkdir /run/serai-run 2>/dev/null; then
        : >/run/serai-run/output
        $run 2>&1 | tee /run/serai-run/output
        : >/run/serai-run/done
    elif [ ! -e /run/serai-run/done ]; then
        # On a second console: what the first one shows.
        tail -n +1 -F /run/serai-run/output 2>/dev/null &
        until [ -e /run/serai-run/done ]; do sleep 1; done
        kill $!
    fi
fi
unset run
