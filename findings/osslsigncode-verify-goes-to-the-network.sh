#!/bin/bash
# osslsigncode 2.9 `verify` fetches the address that the file itself names for the revocation list of its time stamp.
#
# A good engineer takes a check of a file on this disk against a given -CAfile for one that stays on this machine, as
# `openssl verify` and `openssl cms -verify` do. osslsigncode asks, without being told to, the CRL distribution point of the
# certificate that made the time stamp: with no network that is a delay, and an answer that differs from the one with a network;
# and whoever made the file learns who looks at it. -ignore-cdp turns it off.
#
# Seen: "GET /list.crl HTTP/1.0" at a server of ours, from `verify` with nothing but -CAfile and -TSA-CAfile; none with -ignore-cdp.
# Ends with 0 while that is so, with 1 when it changes. Needs Debian's osslsigncode (2.9) and openssl.
set -euo pipefail
work=$(mktemp -d); trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check distlib==0.3.9
cp "$(venv/bin/python -c 'import distlib, pathlib; print(pathlib.Path(distlib.__file__).with_name("t64.exe"))')" plain.exe
cat > serve.py <<'PYTHON'
import http.server
import sys


class Log(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("asked", "a") as file:
            file.write(self.requestline + "\n")
        self.send_error(404)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Log)
with open("port", "w") as file:
    file.write(str(server.server_port))
server.serve_forever()
PYTHON
python3 serve.py & server=$!
until [ -s port ]; do sleep 0.1; done
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj "/CN=Made-up root" 2>/dev/null
issue() {  # name, extensions
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=Made-up $1" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -out "$1.pem" -days 20 -extfile <(printf '%b' "$2") 2>/dev/null
}
issue signer "extendedKeyUsage=codeSigning\nkeyUsage=critical,digitalSignature\n"
issue stamper "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\ncrlDistributionPoints=URI:http://127.0.0.1:$(cat port)/list.crl\n"
cat stamper.pem ca.pem > stampers.pem
osslsigncode sign -h sha256 -certs signer.pem -key signer.key -TSA-certs stampers.pem -TSA-key stamper.key -in plain.exe -out signed.exe > /dev/null
osslsigncode --version | head -1
: > asked
osslsigncode verify -CAfile ca.pem -TSA-CAfile ca.pem -ignore-cdp -in signed.exe > quiet.log 2>&1 || true
echo "with -ignore-cdp: $(wc -l < asked) requests"
[ ! -s asked ] || exit 1
osslsigncode verify -CAfile ca.pem -TSA-CAfile ca.pem -in signed.exe > loud.log 2>&1 || true
echo "without it: $(cat asked)"
grep -q "GET /list.crl" asked
