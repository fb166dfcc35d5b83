#!/usr/bin/env bash
# Two installed pytest plugins that have a fixture of one name are no error and no warning. Which of them a test gets is
# decided by the order of their folders on sys.path (and within one folder by the order in which the file system lists it):
# the plugin that comes last wins. So the same packages, in the same versions, give a test another `client` elsewhere, and to
# install one more plugin can take a project's own fixture away.
#
# Seen with pytest 9.0.2, pytest-django 4.14.0, pytest-flask 1.3.0 (Debian 12, Python 3.11), each plugin in a folder of its own:
#     flask's folder first:  the test gets pytest_django.fixtures
#     django's folder first: the test gets pytest_flask.fixtures
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip="$work/venv/bin/pip"
"$pip" -q install pytest==9.0.2 flask==3.1.2 django==5.2.8
"$pip" -q install --no-deps --target "$work/django" pytest-django==4.14.0
"$pip" -q install --no-deps --target "$work/flask" pytest-flask==1.3.0
mkdir "$work/suite"
cat > "$work/suite/test_client.py" <<'PY'
def test_client(request):
    found = request.session._fixturemanager.getfixturedefs("client", request.node)
    print("of", found[-1].func.__module__)
PY
cd "$work/suite"

client_of() {
    PYTHONPATH=$1 "$work/venv/bin/python" -m pytest -q -s -p no:cacheprovider | sed -n 's/^of //p'
}

flask_first=$(client_of "$work/flask:$work/django")
django_first=$(client_of "$work/django:$work/flask")
echo "flask's folder first:  the test gets $flask_first"
echo "django's folder first: the test gets $django_first"
[ "$flask_first" = pytest_django.fixtures ] && [ "$django_first" = pytest_flask.fixtures ]
