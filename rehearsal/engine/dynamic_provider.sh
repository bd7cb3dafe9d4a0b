#!/bin/sh
# pulumi-resource-pulumi-python, which only an installed Pulumi brings: the dynamic provider, in the Python that
# Pulumi.yaml's `virtualenv` names. The engine hands that over as a variable; a relative one starts in the program's folder.
environment=${PULUMI_RUNTIME_VIRTUALENV:-}
[ -n "$environment" ] || exec "${PULUMI_PYTHON_CMD:-python3}" -u -m pulumi.dynamic "$@"
case $environment in
/*) ;;
*) environment=$PWD/${environment%/} ;;
esac
if [ ! -f "$environment/bin/python" ]; then
	echo "The 'virtualenv' option in Pulumi.yaml is set to \"$environment\", which is no virtual environment." >&2
	exit 1
fi
unset PYTHONHOME
PATH=$environment/bin:$PATH exec "$environment/bin/python" -u -m pulumi.dynamic "$@"
