"""The files for schedulers in docs/cluster/: without a cluster, their processes run on this machine.

The commands of SLURM are stand-ins here, which start each task as a local process. The manifests for Kubernetes are
validated against its schemas, and the processes of their pods run with local addresses in place of the pods' names.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from conftest import ENGINES, write_folder

from lenet_multi.distributed import WORKER_VARIABLES, is_worker
from lenet_multi.distributed.processes import free_ports
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import load_checkpoint
from lenet_multi.runs.options import run_parser
from lenet_multi.system.process import child_environment

CLUSTER = Path(__file__).parent.parent / "docs" / "cluster"
SCRIPTS = sorted(CLUSTER.glob("*.sh"))
MANIFESTS = sorted(CLUSTER.glob("*.yaml"))
JOBS = {name: CLUSTER / f"kubernetes_{name}.yaml" for name in WORKER_VARIABLES}
SMALL = ["--batch-size", "40", "--lr", "0.1", "--activation", "tanh", "--device", "cpu", "--epochs", "1"]
PATIENCE = 120  # seconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "some", num_train=401, num_test=101)


# SLURM

# Starts the tasks of a step as SLURM does: ranks in blocks on the nodes, and the end of all when one fails.
SRUN = """
import os, subprocess, sys, time

options = {}
words = sys.argv[1:]
while words[0].startswith("--"):
    name, _, value = words.pop(0).partition("=")
    options[name] = value
assert set(options) <= {"--ntasks", "--distribution", "--cpus-per-task", "--kill-on-bad-exit"}, options
assert options.get("--distribution", "block") == "block"
nodes = os.environ["FAKE_NODES"].split()
per_node = int(options["--ntasks"]) // len(nodes)
tasks = []
for rank in range(int(options["--ntasks"])):
    node, local = divmod(rank, per_node)
    own = {"SLURM_PROCID": rank, "SLURM_LOCALID": local, "SLURM_NODEID": node, "SLURMD_NODENAME": nodes[node]}
    own["SLURM_NTASKS"] = options["--ntasks"]
    tasks.append(subprocess.Popen(words, env=os.environ | {name: str(value) for name, value in own.items()}))
while any(task.poll() is None for task in tasks) and not any(task.returncode for task in tasks):
    time.sleep(0.05)
status = max(abs(task.poll() or 0) for task in tasks)
for task in tasks:
    if task.poll() is None:
        assert options["--kill-on-bad-exit"] == "1"
        task.kill()
    task.wait()
sys.exit(status)
"""
SCONTROL = """
import os, sys

assert sys.argv[1:] == ["show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
print(os.environ["FAKE_NODES"].replace(" ", os.linesep))
"""


def free_job_id() -> int:
    """The number of a job whose ports nothing uses now. Each process that runs tests starts at another one."""
    for number in range(os.getpid(), os.getpid() + 100):
        with ExitStack() as stack:
            try:
                for port in range(2):
                    listener = stack.enter_context(socket.socket())
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind(("", 20000 + number % 100 * 100 + port))
            except OSError:
                continue
        return number
    raise AssertionError("no port is free")


def sbatch_options(script: Path) -> dict[str, str]:
    """What the script asks of SLURM, in the comments before its first command."""
    head = script.read_text().partition("\nset -")[0]
    return dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", head, flags=re.M))


def sbatch(
    script: Path, nodes: list[str], per_node: int, where: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a script as SLURM does on the first of its nodes, with stand-ins for the commands of SLURM."""
    programs = where / "bin"
    programs.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (programs / f"{name}.py").write_text(text)
        (programs / name).write_text(f'#!/bin/bash\nexec {sys.executable} {programs}/{name}.py "$@"\n')
    (programs / "python").write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    options = sbatch_options(script)
    variables = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(CLUSTER.parent.parent), os.environ.get("PYTHONPATH", "")])),
        "FAKE_NODES": " ".join(nodes),
        "SLURM_JOB_NODELIST": "node[1-9]",  # as SLURM shortens it
        "SLURM_JOB_ID": str(free_job_id()),
        "SLURM_JOB_NUM_NODES": str(len(nodes)),
        "SLURM_NTASKS_PER_NODE": str(per_node),
        "SLURM_CPUS_PER_TASK": options["cpus-per-task"],
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    return subprocess.run(
        ["bash", script, *arguments],
        env=child_environment() | variables,
        cwd=where,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_slurm_script_has_no_lint(script):
    subprocess.run(["bash", "-n", script], check=True)
    subprocess.run([Path(sys.executable).parent / "shellcheck", script], check=True)
    assert {"job-name", "nodes", "ntasks-per-node", "cpus-per-task", "time"} == set(sbatch_options(script))


def test_the_linter_finds_a_mistake(tmp_path):
    """A variable without quotes."""
    text = SCRIPTS[0].read_text().replace('"$SLURM_JOB_NODELIST"', "$SLURM_JOB_NODELIST")
    (tmp_path / "wrong.sh").write_text(text)
    command = [Path(sys.executable).parent / "shellcheck", tmp_path / "wrong.sh"]
    assert "SC2086" in subprocess.run(command, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(("nodes", "per_node"), [(["127.0.0.1", "127.0.0.2"], 1), (["127.0.0.1"], 2)])
def test_a_slurm_script_trains_with_a_worker_for_each_task(name, nodes, per_node, folder, tmp_path):
    done = sbatch(CLUSTER / f"slurm_{name}.sh", nodes, per_node, tmp_path, "--dataset", str(folder), *SMALL)
    assert done.returncode == 0, done.stderr
    assert "command not found" not in done.stderr
    assert len(done.stdout.splitlines()) == 2  # only worker 0 prints
    (run,) = (tmp_path / "runs").glob("slurm-*")
    assert load_checkpoint(run)[0].epochs_done == 1


@pytest.mark.parametrize("name", ENGINES)
def test_a_slurm_script_fails_with_its_workers(name, folder, tmp_path):
    options = ["--dataset", str(folder), *SMALL, "--batch-size", "402"]
    done = sbatch(CLUSTER / f"slurm_{name}.sh", ["127.0.0.1", "127.0.0.2"], 1, tmp_path, *options)
    assert done.returncode == 2
    assert "error: --batch-size 402 is larger than the 401 training examples" in done.stderr
    assert not (tmp_path / "runs").exists()


# Kubernetes


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def pod_variables(job: dict[str, Any], index: int) -> dict[str, str]:
    """The variables of a pod's container, as the kubelet sets them."""
    fields = {
        "metadata.annotations['batch.kubernetes.io/job-completion-index']": str(index),
        "status.podIP": "127.0.0.1",
    }
    variables: dict[str, str] = {}
    for each in job["spec"]["template"]["spec"]["containers"][0]["env"]:
        value = each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        # A value may refer to the variables above it.
        variables[each["name"]] = re.sub(r"\$\((\w+)\)", lambda match: variables.get(match[1], match[0]), value)
    return variables | {"JOB_COMPLETION_INDEX": str(index)}


def faults(text: str, name: str) -> list[str]:
    """What is wrong with the manifest of a backend, besides its form."""
    service, job = documents(text)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (storage,) = documents((CLUSTER / "kubernetes_storage.yaml").read_text())
    count, job_name = spec["completions"], job["metadata"]["name"]
    variables = [pod_variables(job, index) for index in range(count)]
    command = " ".join(container["command"])
    checks = {
        "the service has an address of its own": service["spec"].get("clusterIP") == "None",
        "the service is of other pods": service["spec"]["selector"] == {"job-name": job_name},
        "the pods have no names": pod.get("subdomain") == service["metadata"]["name"],
        "the names are published too late": service["spec"].get("publishNotReadyAddresses") is True,
        "not all pods run at the same time": spec.get("parallelism") == count,
        "the pods have no numbers": spec.get("completionMode") == "Indexed",
        "a failed pod starts again": (pod["restartPolicy"], spec.get("backoffLimit")) == ("Never", 0),
        "the image looks real": container["image"].startswith("registry.example.org/"),
        "the storage has another name": pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
        == storage["metadata"]["name"],
        "the pods cannot share the storage": storage["spec"]["accessModes"] == ["ReadWriteMany"],
        "nothing is trained": "-m lenet_multi.train" in command,
        "a variable is not expanded": not any("$(" in value for each in variables for value in each.values()),
    }
    hosts = set(re.findall(rf"[\w-]*\.{job_name}\b", json.dumps(variables)))
    pods = {f"{job_name}-{index}.{job_name}" for index in range(count)}
    checks["another host is named"] = bool(hosts) and hosts <= pods
    if name == "tensorflow":
        configs = [json.loads(each["TF_CONFIG"]) for each in variables]
        checks["the number of workers differs"] = all(len(each["cluster"]["worker"]) == count for each in configs)
        checks["two workers are the same"] = [each["task"]["index"] for each in configs] == list(range(count))
    elif name == "torch":
        checks["the number of workers differs"] = all(each["WORLD_SIZE"] == str(count) for each in variables)
        checks["two workers are the same"] = [each["RANK"] for each in variables] == list(map(str, range(count)))
    else:
        checks["the number of workers differs"] = all(
            1 + int(each["DMLC_NUM_SERVER"]) + int(each["DMLC_NUM_WORKER"]) == count for each in variables
        )
    words = container["command"]
    try:
        args = run_parser("train", "").parse_args(words[words.index("--backend") :])
        checks["another backend is trained"] = args.backend == name
        mount = Path(container["volumeMounts"][0]["mountPath"])
        checks["files are not in the storage"] = mount in args.out.parents and mount in args.data_dir.parents
    except UserError as problem:
        checks[str(problem)] = False
    return [fault for fault, is_right in checks.items() if not is_right]


def require_valid(text: str, version: str) -> None:
    for document in documents(text):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("version", ["1.25", "1.31", "1.37"])
def test_a_manifest_follows_kubernetes_schemas(manifest, version):
    require_valid(manifest.read_text(), version)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("completions: 2", "completion: 2"),
        ("completions: 2", "completions: two"),
        ("clusterIP: None", "clusterIP: 0"),
        ("restartPolicy: Never", "restartPolicy: 0"),
        ('value: "2"', "value: 2"),
    ],
)
def test_a_manifest_that_breaks_a_schema_is_found(right, wrong):
    text = JOBS["torch"].read_text()
    assert right in text
    with pytest.raises(kubernetes_validate.ValidationError):
        require_valid(text.replace(right, wrong), "1.31")


@pytest.mark.parametrize("name", JOBS)
def test_a_manifest_has_no_fault(name):
    assert faults(JOBS[name].read_text(), name) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong", "fault"),
    [
        ("torch", "clusterIP: None", "clusterIP: 10.0.0.1", "the service has an address of its own"),
        ("torch", "job-name: lenet-torch", "job-name: lenet", "the service is of other pods"),
        ("torch", "subdomain: lenet-torch", "subdomain: lenet", "the pods have no names"),
        (
            "torch",
            "publishNotReadyAddresses: true",
            "publishNotReadyAddresses: false",
            "the names are published too late",
        ),
        ("torch", "parallelism: 2", "parallelism: 1", "not all pods run at the same time"),
        ("torch", "completionMode: Indexed", "completionMode: NonIndexed", "the pods have no numbers"),
        ("torch", "backoffLimit: 0", "backoffLimit: 6", "a failed pod starts again"),
        ("torch", "registry.example.org", "docker.io/library", "the image looks real"),
        ("torch", "claimName: lenet-storage", "claimName: lenet", "the storage has another name"),
        ("torch", "lenet_multi.train", "lenet_multi.evaluate", "nothing is trained"),
        ("torch", 'value: "2"', 'value: "3"', "the number of workers differs"),
        ("torch", "lenet-torch-0.lenet-torch\n", "lenet-torch-2.lenet-torch\n", "another host is named"),
        ("torch", "- torch", "- mxnet", "another backend is trained"),
        ("torch", "/storage/runs", "/runs", "files are not in the storage"),
        ("torch", "--dataset", "--data-set", "unrecognized arguments"),
        ("torch", "value: lenet-torch-0", "value: $(JOB_COMPLETION_INDEX).lenet-torch-0", "a variable is not expanded"),
        ("tensorflow", "tensorflow-1.lenet", "tensorflow-2.lenet", "another host is named"),
        ("tensorflow", '"index": $(RANK)', '"index": 0', "two workers are the same"),
        ("mxnet", "completions: 4", "completions: 2", "the number of workers differs"),
    ],
)
def test_a_fault_of_a_manifest_is_found(name, right, wrong, fault):
    text = JOBS[name].read_text()
    assert right in text
    found = faults(text.replace(right, wrong), name)
    assert any(fault in each for each in found), found


@pytest.mark.parametrize("name", JOBS)
def test_a_pod_is_a_worker(name, monkeypatch):
    _, job = documents(JOBS[name].read_text())
    for variable in (variable for names in WORKER_VARIABLES.values() for variable in names):
        monkeypatch.delenv(variable, raising=False)
    assert not is_worker(name)
    roles = []
    for index in range(job["spec"]["completions"]):
        words = job["spec"]["template"]["spec"]["containers"][0]["command"]
        variables = pod_variables(job, index)
        if name == "mxnet":  # the shell in the pod chooses its role
            words = ["bash", words[1], words[2].replace("exec ", "printenv DMLC_ROLE #"), *words[3:]]
            variables["DMLC_ROLE"] = subprocess.run(
                words, env={**os.environ, **variables}, check=True, capture_output=True, text=True
            ).stdout.strip()
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        assert is_worker(name)
        roles.append(variables.get("DMLC_ROLE", "worker"))
    assert roles == (["scheduler", "server"] if name == "mxnet" else []) + ["worker"] * 2


@pytest.mark.parametrize("name", ENGINES)
def test_the_pods_of_a_manifest_train_together(name, folder, tmp_path):
    """Started here as processes, with local addresses, local files and this Python."""
    text, ports = JOBS[name].read_text(), free_ports(2)
    local = {
        f"lenet-{name}-0.lenet-{name}:29500": f"localhost:{ports[0]}",
        f"lenet-{name}-1.lenet-{name}:29500": f"localhost:{ports[1]}",
        f"lenet-{name}-0.lenet-{name}\n": "localhost\n",
        '"29500"': f'"{ports[0]}"',
        "/home/student/lenet_multi/.venv/bin/python": sys.executable,
        "- fashion-mnist": f"- {folder}",
        "/storage": str(tmp_path),
    }
    for original, replacement in local.items():
        text = text.replace(original, replacement)
    _, job = documents(text)
    command = [*job["spec"]["template"]["spec"]["containers"][0]["command"], *SMALL]
    processes = [
        subprocess.Popen(
            command,
            env=child_environment() | {"CUDA_VISIBLE_DEVICES": "-1"} | pod_variables(job, index),
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(job["spec"]["completions"])
    ]
    printed = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    assert sum(len(lines.splitlines()) for lines in printed) == 2
    assert load_checkpoint(tmp_path / "runs" / name)[0].epochs_done == 1
