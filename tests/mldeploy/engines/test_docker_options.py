"""What an environment may ask `docker run` for; no engine is asked here."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mldeploy.engines import _docker_options
from mldeploy.engines._docker_options import Options, options
from mldeploy.errors import UserErrorException

GB = 2**30


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["-e", "A=1", "--env=B=x=y", "--env", "C="], {"environment": {"A": "1", "B": "x=y", "C": ""}}),
        (["-eA=1"], {"environment": {"A": "1"}}),
        (["-e A=two words"], {"environment": {"A": "two words"}}),
        (["--label", "team=red", "-l", "bare"], {"labels": {"team": "red", "bare": ""}}),
        (["--hostname", "scoring"], {"hostname": "scoring"}),
        (["-h", "scoring"], {"hostname": "scoring"}),
        (["--add-host", "db:10.0.0.7", "--add-host=six:::1"], {"extra_hosts": {"db": "10.0.0.7", "six": "::1"}}),
        (["--dns", "10.0.0.1", "--dns=10.0.0.2"], {"dns": ("10.0.0.1", "10.0.0.2")}),
        (["--dns-search", "example.com"], {"dns_search": ("example.com",)}),
        (["--ulimit", "nofile=4096:8192"], {"ulimits": {"nofile": (4096, 8192)}}),
        (["--ulimit=core=0"], {"ulimits": {"core": (0, 0)}}),
        (["--shm-size 2g"], {"shm_size": 2 * GB}),
        (["--shm-size", "64m"], {"shm_size": 64 * 2**20}),
        (["--tmpfs", "/scratch:size=64m", "--tmpfs=/more"], {"tmpfs": {"/scratch": "size=64m", "/more": ""}}),
        (["--cpus", "1.5", "--cpuset-cpus=0-1"], {"cpus": 1.5, "cpuset": "0-1"}),
        (["-m", "512m"], {"memory": 2**29}),
        (["--memory=1073741824"], {"memory": GB}),
        (["--read-only"], {"read_only": True, "tmpfs": {"/tmp": ""}}),
        (["--read-only=true", "--tmpfs", "/tmp:size=1m"], {"read_only": True, "tmpfs": {"/tmp": "size=1m"}}),
        (["--group-add", "audio", "--group-add=1001"], {"groups": ("audio", "1001")}),
        (["--net=mine"], {"network": "mine"}),
        ([" ", ""], {}),
    ],
)
def test_what_is_taken(arguments: list[str], expected: dict[str, Any]) -> None:
    assert options(arguments) == Options(**expected)


@pytest.mark.parametrize(
    ("arguments", "message", "why"),
    [
        (["--privileged"], "'--privileged' is not taken: it gives the service rights over this machine", ""),
        (["--cap-add=SYS_ADMIN"], "'--cap-add' is not taken: it gives the service rights", ""),
        (["--pid", "host"], "'--pid' is not taken: it gives the service rights", ""),
        (["--security-opt", "seccomp=unconfined"], "'--security-opt' is not taken", ""),
        (["-v", "/:/host:ro"], "'--volume' is not taken: a path of this machine is nowhere else", ""),
        (["--mount", "type=bind,src=/,dst=/h"], "'--mount' is not taken: a path of this machine", ""),
        (["--env-file=x"], "'--env-file' is not taken: a path of this machine", ""),
        (["-p", "80:5001"], "'--publish' is not taken: a service has one port, on loopback", ""),
        (["-p80:5001"], "'--publish' is not taken", ""),
        (["-P"], "'--publish-all' is not taken", ""),
        (["-it"], "'--interactive' is not taken: the engine starts and ends the service", ""),
        (["--restart", "always"], "'--restart' is not taken", ""),
        (["--user=0"], "'--user' is not taken: it would run something else than the package", ""),
        (["--entrypoint", "sh"], "'--entrypoint' is not taken", ""),
        (["--gpus", "all"], "'--gpus' is not taken: docker.gpuSupport says it", ""),
        (["--pids-limit=-1"], "'--pids-limit' is not taken", ""),
        (["--shmsize=1g"], "'--shmsize' is not taken (did you mean '--shm-size'?)", ""),
        (["--zzzzzz"], "'--zzzzzz' is not taken", ""),
        (["-z"], "'-z' is not taken", ""),
        (["image"], "'image' is no argument", "arguments begin with a dash"),
        (["--", "sh"], "'--' is no argument", "arguments begin with a dash"),
        (["--shm-size"], "'--shm-size' lacks its value", ""),
        (["-e"], "'-e' lacks its value", ""),
        (["--shm-size=much"], "'--shm-size' cannot be 'much'", "a number with b, k, m or g"),
        (["--memory", "0"], "'--memory' cannot be '0'", "a number with"),
        (["-e", "HOME"], "'--env' cannot be 'HOME'", "nothing of the shell's environment"),
        (["--label=mldeploy.service=x"], "'--label' cannot be", "are the engine's"),
        (["--net=host"], "'--network' cannot be 'host'", "a port of its own"),
        (["--network", "container:x"], "'--network' cannot be 'container:x'", "a port of its own"),
        (["--network=none"], "'--network' cannot be 'none'", "a port of its own"),
        (["--cpus=-1"], "'--cpus' cannot be '-1'", "above 0"),
        (["--cpus=nan"], "'--cpus' cannot be 'nan'", "above 0"),
        (["--cpus=two"], "'--cpus' cannot be 'two'", ""),
        (["--cpuset-cpus=all"], "'--cpuset-cpus' cannot be 'all'", "a list like"),
        (["--ulimit=nofile"], "'--ulimit' cannot be 'nofile'", "NAME=SOFT"),
        (["--ulimit=nofile=many"], "'--ulimit' cannot be 'nofile=many'", "whole numbers"),
        (["--add-host=db"], "'--add-host' cannot be 'db'", "NAME:ADDRESS"),
        (["--tmpfs=scratch"], "'--tmpfs' cannot be 'scratch'", "absolute"),
        (["--tmpfs=/var/azureml-app"], "'--tmpfs' cannot be '/var/azureml-app'", "nothing of the service's"),
        (["--read-only=perhaps"], "'--read-only' cannot be 'perhaps'", "true or false"),
        (["--hostname=a b"], "'--hostname' cannot be 'a b'", "a host's name"),
        (["--group-add="], "'--group-add' cannot be ''", ""),
    ],
)
def test_what_is_refused_is_named_with_the_reason(arguments: list[str], message: str, why: str) -> None:
    with pytest.raises(UserErrorException) as caught:
        options(arguments)
    assert message in caught.value.message
    assert why in caught.value.reason
    assert caught.value.where == "docker.arguments"
    assert caught.value.hint


def test_a_refusal_lists_what_is_taken() -> None:
    with pytest.raises(UserErrorException) as caught:
        options(["--privileged"])
    for name in _docker_options._TAKEN:
        assert name in caught.value.hint


def test_what_is_said_in_two_places_has_to_be_the_same() -> None:
    assert options(["--memory=1g"], memory_gb=1).memory == GB
    assert options(["--shm-size=1g"], shm_size="1024m").shm_size == GB
    assert options([], cpu=0.5, memory_gb=0.25, gpu=True) == Options(cpus=0.5, memory=2**28, gpu=True)
    for arguments, more in (
        (["--memory=2g"], {"memory_gb": 1.0}),
        (["--cpus=2"], {"cpu": 1.0}),
        (["--shm-size=2g"], {"shm_size": "1g"}),
    ):
        with pytest.raises(UserErrorException, match="ask for different things"):
            options(arguments, **more)


def test_a_size_that_is_none() -> None:
    with pytest.raises(UserErrorException, match="'2 gigs' is no size") as caught:
        options(shm_size="2 gigs")
    assert caught.value.where == "docker.shmSize"


WORD = st.sampled_from([*_docker_options._TAKEN, *_docker_options._REFUSED, *_docker_options._SHORT])


@given(st.lists(st.one_of(WORD, st.text(max_size=12), st.builds("{}={}".format, WORD, st.text(max_size=12)))))
def test_whatever_is_asked_is_taken_or_refused(arguments: list[str]) -> None:
    with contextlib.suppress(UserErrorException):
        assert isinstance(options(arguments), Options)
