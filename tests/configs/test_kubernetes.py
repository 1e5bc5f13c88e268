"""The `kubernetes:` section: what is refused, and that secrets stay out of it."""

import pytest
from pydantic import ValidationError

from configs.kubernetes import KubernetesSpec, memory_bytes
from configs.secrets import require_no_secret


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"namespace": "Team A"}, "expected lower-case letters, digits and '-', at most 63"),
        ({"worker": {"memory": "4 GB"}}, "expected an amount of memory such as 512Mi or 4Gi"),
        ({"worker": {"memory": "512Mi"}}, "Ray and TensorFlow need at least 1Gi"),
        ({"worker": {"memory": "2Gi", "shared_memory": "3Gi"}}, "shared_memory=3Gi is more than memory=2Gi"),
        ({"gpu_resource": "example.com/card"}, "the name of a resource that ends in gpu"),
        ({"volumes": [{"claim": "a", "path": "data"}]}, "expected a path such as /mnt/data"),
        ({"volumes": [{"claim": "a", "path": "/d"}, {"claim": "b", "path": "/d"}]}, "two of them have the same path"),
        ({"python": "python; reboot"}, "the path of an interpreter, without blanks"),
        ({"ttl_s": 1, "deletion": [{"after": "success", "delete": "job"}]}, "ttl_s and deletion exclude each other"),
        ({"scheduler": "kueue"}, "scheduler: kueue needs queue"),
        ({"queue": "q", "deletion": [{"after": "success", "delete": "job"}]}, "Kueue admits only jobs that end"),
        (
            {
                "deletion": [
                    {"after": "success", "delete": "job"},
                    {"after": "success", "delete": "cluster", "wait_s": 9},
                ]
            },
            "deletion after success: workers may not outlive the cluster, nor it the job",
        ),
        ({"deletion": [{"after": "failure", "delete": "job"}] * 2}, "two rules delete the same after failure"),
        ({"ttl_s": 2**31}, "less than or equal to 2147483647"),
        ({"user_id": 2**31}, "less than or equal to 2147483647"),
        ({"head": {"memory": "9" * 400 + "Gi"}}, "an amount of memory such as 512Mi"),
        ({"head": {"node_selector": {"a" * 254 + "/b": ""}}}, "a label, such as disk"),
        ({"gpu_resource": "example.com/-gpu"}, "the name of a resource that ends in gpu"),
        ({"code": {"by": "runtime_env"}}, "runtime_env goes with by: runtime_env"),
        ({"auth_secret": "a", "token_auth": False}, "auth_secret goes with token_auth: true"),
        ({"serve": {"min_replicas": 3, "max_replicas": 2}}, "min_replicas=3 is more than max_replicas=2"),
        ({"node_selector": {}}, "unknown key 'node_selector'"),
        ({"env": {"MY_API_KEY": "x"}}, "kubernetes.env.MY_API_KEY holds a secret"),
        ({"env": {"DATABASE": "postgresql://me:hunter2@db/x"}}, "kubernetes.env.DATABASE holds a password in a URI"),
        ({"mlflow_uri": "http://me:hunter2@mlflow:5000"}, "kubernetes.mlflow_uri holds a password in a URI"),
        (
            {"code": {"by": "runtime_env", "runtime_env": {"env_vars": {"HF_TOKEN": "hf_x"}}}},
            "kubernetes.code.env_vars.HF_TOKEN holds a secret",
        ),
        ({"env": {"A": "AKIAABCDEFGHIJKLMNOP"}}, "kubernetes.env.A holds an AWS access key"),
    ],
)
def test_what_is_refused(section: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KubernetesSpec.model_validate(section)
    assert expected in str(caught.value)
    messages = " ".join(str(error["msg"]) for error in caught.value.errors())
    assert "hunter2" not in messages


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "KEYBOARD", "MONKEY", "SECRET_NAME", "TOKEN_FILE", "AWS_REGION", "PASSPORT"]
)
def test_names_that_only_sound_secret(name: str) -> None:
    require_no_secret({"env": {name: "value"}}, where="kubernetes")


@pytest.mark.parametrize("name", ["PASSWORD", "DB_PASSWORD", "api_key", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PASSWD"])
def test_names_of_secrets(name: str) -> None:
    with pytest.raises(ValueError, match="holds a secret; put it into a Kubernetes Secret"):
        require_no_secret({"env": {name: "value"}}, where="kubernetes")


def test_an_address_with_a_user_but_no_password_is_none() -> None:
    require_no_secret({"data": {"csv": "sftp://me@host/x.csv"}}, where="")


@pytest.mark.parametrize(("text", "count"), [("1Gi", 2**30), ("2.5Gi", 5 * 2**29), ("3M", 3_000_000), ("64k", 64_000)])
def test_quantities(text: str, count: int) -> None:
    assert memory_bytes(text) == count


def test_defaults_need_nothing() -> None:
    spec = KubernetesSpec()
    assert (spec.namespace, spec.service_account, spec.token_auth) == ("ringmaster", "ringmaster-job", True)
    assert spec.head.shared == "2048Mi"
