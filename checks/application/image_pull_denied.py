"""A registry refuses to hand out a container's image without, or with these, credentials."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, listing
from kdiag.facts import Events, Failures, Fault, Image, Logs, touched


@check(
    title="Registry refuses the image",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "images",
        "pull",
        "access",
        "secrets",
    ),
)
def image_pull_denied(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """A pull secret that is named and not there is the plainest reason; then a pod without any."""
    for group in failures.of(Fault.IMAGE_DENIED, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        secrets = [s.name for s in one.pod.spec.image_pull_secrets]
        event = events.latest(one.pod.ref(), "FailedToRetrieveImagePullSecret") if events else None
        lost = [s for s in secrets if event and s in event.message]
        image = Image.parse(one.about)
        if lost:
            why = f"pull secret {listing(lost)} does not exist in namespace {namespace}"
        elif secrets and "does not exist" in one.text:
            why = f"{image.repository} does not exist, or pull secret {listing(secrets)} may not read it"
        elif secrets:
            why = f"{image.registry} refuses the credentials in pull secret {listing(secrets)}"
        elif "does not exist" in one.text:
            why = f"{image.repository} does not exist or is private, and the pod has no pull secret"
        elif "403" in one.text:
            why = f"{image.registry} answers 403 Forbidden, and the pod has no pull secret"
        else:
            why = f"{image.registry} wants credentials and the pod has no pull secret"
        shown = [Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said)]
        if event and lost:
            shown.append(
                Evidence(kubectl("events", "--for", f"pod/{one.pod.name}", namespace=namespace), event.message)
            )
        shown.append(
            Evidence(
                kubectl("get", "pod", one.pod.name, "-o", "jsonpath={.spec.imagePullSecrets}", namespace=namespace),
                f"imagePullSecrets: {listing(secrets) if secrets else 'none'}",
            )
        )
        yield Finding(
            one.owner,
            f"{one.where} may not pull {one.about}: {why}",
            evidence=tuple(shown),
            next=(
                kubectl(
                    "get", "secrets", "--field-selector", "type=kubernetes.io/dockerconfigjson", namespace=namespace
                ),
                kubectl(
                    "create",
                    "secret",
                    "docker-registry",
                    lost[0] if lost else "regcred",
                    f"--docker-server={image.registry}",
                    "--docker-username=USER",
                    "--docker-password=PASSWORD",
                    namespace=namespace,
                ),
            ),
            touches=touched(group, *(Ref("Secret", s, namespace) for s in lost)),
            key=one.container,
            since=one.started,
            shared=Shared(
                Ref("Secret", lost[0], namespace) if lost else Ref("Registry", image.registry),
                f"Images of {image.registry} may not be pulled: {why}",
                "want one",
            ),
        )
