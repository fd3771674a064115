"""
The words of the operator's API: group, kinds, labels, condition types, reasons.

Every name that reaches the cluster is spelled here and nowhere else, because a
name built in two places ends up as two names. This module imports nothing, so
that drills and tests can speak of the API without carrying the operator.
"""

from typing import Final

GROUP: Final = "hailstorm.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
# By this name the API server keeps which fields the operator has written.
FIELD_MANAGER: Final = "hailstorm-operator"

SCALER_KIND: Final = "ServiceScaler"
SCALER_PLURAL: Final = "servicescalers"
RECORD_KIND: Final = "RolloutRecord"
RECORD_PLURAL: Final = "rolloutrecords"
POLICY_KIND: Final = "RolloutPolicy"
POLICY_PLURAL: Final = "rolloutpolicies"

# On a Deployment: keep RolloutRecords of it.
RECORD_LABEL: Final = f"{GROUP}/record"
RECORD_LABEL_VALUE: Final = "true"
# On a RolloutRecord: the Deployment it speaks of, for `kubectl get rr -l`.
TARGET_LABEL: Final = f"{GROUP}/target"
# On a RolloutRecord: uid of that Deployment, since a name can be used again.
TARGET_UID_LABEL: Final = f"{GROUP}/target-uid"
# On a RolloutRecord, written when it closes, so that retention can select.
OUTCOME_LABEL: Final = f"{GROUP}/outcome"
# On a closed RolloutRecord until its traffic is written, so that a restart forgets none.
TRAFFIC_LABEL: Final = f"{GROUP}/traffic"
TRAFFIC_PENDING: Final = "pending"

# On a Deployment while a RolloutPolicy holds it: "<policy>/<template hash>".
HELD_ANNOTATION: Final = f"{GROUP}/held-by"
# Beside it when the hold is minReadySeconds: what the field was before.
MIN_READY_ANNOTATION: Final = f"{GROUP}/min-ready-seconds"
# And what the hold has set it to: any other value that stands there is a user's.
MIN_READY_HELD_ANNOTATION: Final = f"{GROUP}/min-ready-seconds-held"

# On a ServiceScaler: how its targetInFlight was measured, and for which images.
CALIBRATION_ANNOTATION: Final = f"{GROUP}/calibration"
# On the Deployment and the pods of warm spares: whose they are. It selects them.
SPARE_OF_LABEL: Final = f"{GROUP}/spare-of"
# On each of those pods: digest of the template that it was made from.
TEMPLATE_ANNOTATION: Final = f"{GROUP}/template"
# On a pod that is to go when its Deployment shrinks; Kubernetes takes the lowest first.
DELETION_COST_ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"
# Lower than anybody's own, and told by it: a cost of another value is a user's.
VICTIM_COST: Final = "-2000000000"

# Kubernetes' own words that the operator reads.
REVISION_ANNOTATION: Final = "deployment.kubernetes.io/revision"
REVISION_HISTORY_ANNOTATION: Final = "deployment.kubernetes.io/revision-history"
CHANGE_CAUSE_ANNOTATION: Final = "kubernetes.io/change-cause"
RESTARTED_AT_ANNOTATION: Final = "kubectl.kubernetes.io/restartedAt"
POD_TEMPLATE_HASH_LABEL: Final = "pod-template-hash"
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"

# Reason of the Progressing condition of a Deployment whose rollout has arrived.
REASON_ARRIVED: Final = "NewReplicaSetAvailable"

# What started a rollout.
TRIGGER_INITIAL: Final = "initial"
TRIGGER_ROLLOUT: Final = "rollout"
TRIGGER_ROLLBACK: Final = "rollback"
TRIGGER_RESTART: Final = "restart"

# Phases of a rollout, in the order in which they are reached.
PHASE_STARTED: Final = "Started"
PHASE_SURGING: Final = "Surging"
PHASE_AVAILABLE: Final = "Available"
PHASE_COMPLETE: Final = "Complete"
# The other ends, and what may interrupt.
PHASE_PAUSED: Final = "Paused"
PHASE_RESUMED: Final = "Resumed"
PHASE_FAILED: Final = "Failed"
PHASE_TAKEN_BACK: Final = "TakenBack"
PHASE_RECOVERED: Final = "Recovered"
PHASE_SUPERSEDED: Final = "Superseded"
PHASE_DELETED: Final = "Deleted"

OUTCOME_PROGRESSING: Final = "progressing"
OUTCOME_COMPLETE: Final = "complete"
OUTCOME_FAILED: Final = "failed"
OUTCOME_SUPERSEDED: Final = "superseded"
OUTCOME_DELETED: Final = "deleted"
# Rolled while nobody watched: that it happened is known, how it went is not.
OUTCOME_UNKNOWN: Final = "unknown"

# Whether a record's traffic is what there was.
TRAFFIC_KNOWN: Final = "Known"
TRAFFIC_UNKNOWN: Final = "Unknown"
# What became of a rollout under a RolloutPolicy.
VERDICT_PROMOTED: Final = "promoted"
VERDICT_ABORTED: Final = "aborted"
VERDICT_SUPERSEDED: Final = "superseded"
VERDICT_INSUFFICIENT: Final = "insufficient_evidence"

# Which rule gave a verdict; grounds that Kubernetes names keep its words.
RULE_FAILURES: Final = "FailuresOnNewPods"
RULE_PAST: Final = "MoreFailuresThanBefore"
RULE_SLOW: Final = "SlowerThanOthers"
RULE_ENOUGH: Final = "EnoughSeen"
RULE_WATCHED: Final = "WatchEnded"
RULE_NO_SOURCE: Final = "NoTrafficSource"
RULE_NO_DATA: Final = "NoTallies"
RULE_GAP: Final = "GapInTallies"
RULE_FEW_CALLS: Final = "TooFewCalls"
RULE_UNCOMPARED: Final = "NothingToCompare"
RULE_UNDECIDED: Final = "Undecided"
RULE_NEWER: Final = "NewerTemplate"
RULE_RESUMED: Final = "ResumedByUser"

# Condition types of a ServiceScaler.
CONDITION_ACTIVE: Final = "Active"
CONDITION_SIGNAL: Final = "SignalFresh"
CONDITION_PANICKING: Final = "Panicking"
CONDITION_LIMITED: Final = "Limited"
CONDITION_CONFLICT: Final = "Conflict"
CONDITION_CALIBRATION: Final = "CalibrationStale"
CONDITION_SPARES: Final = "SparesReady"

# Condition types of a RolloutRecord.
CONDITION_CLOSED: Final = "Closed"

# Reasons: facts in CamelCase, for conditions and Events.
REASON_SCALING: Final = "Scaling"
REASON_SPEC_INVALID: Final = "SpecInvalid"
REASON_TARGET_MISSING: Final = "TargetMissing"
REASON_SCALED_TO_ZERO: Final = "ScaledToZero"
REASON_HPA_CONFLICT: Final = "HorizontalPodAutoscalerOwnsReplicas"
REASON_SCALER_CONFLICT: Final = "OlderServiceScalerOwnsReplicas"
REASON_CONTESTED: Final = "AnotherWriterOwnsReplicas"
REASON_OWNERS_UNKNOWN: Final = "OwnersOfReplicasUnknown"
REASON_SOLE_OWNER: Final = "SoleOwnerOfReplicas"
REASON_ALL_SOURCES: Final = "AllSourcesAnswer"
REASON_SOURCES_MISSING: Final = "SomeSourcesMissing"
REASON_SIGNAL_STALE: Final = "NoSourceAnswers"
REASON_NO_SOURCES: Final = "ServiceHasNoEndpoints"
REASON_NO_PODS: Final = "TargetHasNoReadyPods"
REASON_WITHIN_BOUNDS: Final = "WithinBounds"
REASON_DEMAND_STEP: Final = "DemandStep"
REASON_JUST_STARTED: Final = "ScalerStarted"
REASON_DEMAND_STEADY: Final = "DemandSteady"
REASON_SCALED_UP: Final = "ScaledUp"
REASON_SCALED_DOWN: Final = "ScaledDown"
REASON_SCALED_BY_OTHER: Final = "ScaledByOther"
REASON_CALIBRATED: Final = "ImageAsCalibrated"
REASON_IMAGE_CHANGED: Final = "ImageChanged"
REASON_TARGET_CHANGED: Final = "TargetInFlightChanged"
REASON_NOT_CALIBRATED: Final = "NotCalibrated"
REASON_CALIBRATION_BROKEN: Final = "CalibrationUnreadable"
REASON_SPARES_READY: Final = "SparesReady"
REASON_SPARES_STARTING: Final = "SparesStarting"
REASON_SPARES_SERVING: Final = "SparesInService"
REASON_SPARES_IN: Final = "SparesLabelledIn"
REASON_SPARES_OUT: Final = "SparesLabelledOut"
REASON_SPARES_WAITING: Final = "WaitingForTarget"
REASON_SPARES_REFUSED: Final = "PodPatchRefused"
REASON_SPARES_COUNTED: Final = "DisruptionBudgetCountsSpares"
REASON_SPARES_UNKNOWN: Final = "SpareDeploymentUnknown"
REASON_SPARE_NAME_TAKEN: Final = "SpareNameTaken"
REASON_NO_SERVICE: Final = "ServiceNotFound"
REASON_SEVERAL_SERVICES: Final = "SeveralServicesMatch"
REASON_NO_SPARES: Final = "NoSparesWanted"
REASON_ROLLOUT_STARTED: Final = "RolloutStarted"
REASON_ROLLOUT_COMPLETED: Final = "RolloutCompleted"
REASON_ROLLOUT_FAILED: Final = "RolloutFailed"
REASON_ROLLOUT_SUPERSEDED: Final = "RolloutSuperseded"
REASON_DEADLINE: Final = "ProgressDeadlineExceeded"
REASON_TARGET_DELETED: Final = "TargetDeleted"
REASON_NOT_WATCHED: Final = "NotWatched"
REASON_EVERY_CALL_SEEN: Final = "EveryCallSeen"
REASON_NO_RECORDER: Final = "NoRecorder"
REASON_NO_TRAFFIC: Final = "NoTraffic"
REASON_RECORDER_GAP: Final = "RecorderGap"
REASON_RECORDER_SILENT: Final = "RecorderUnreachable"
REASON_PODS_REMAIN: Final = "PodsRemain"

# Of RolloutPolicies.
REASON_GATING: Final = "Gating"
REASON_OBSERVING: Final = "Observing"
REASON_NOT_RECORDED: Final = "TargetNotRecorded"
REASON_RECREATE: Final = "RecreateHasNoCanary"
REASON_HOLD_TOO_LONG: Final = "HoldBeyondProgressDeadline"
REASON_POLICY_CONFLICT: Final = "OlderRolloutPolicyGates"
REASON_PROMOTED: Final = "RolloutPromoted"
REASON_ABORTED: Final = "RolloutAborted"
REASON_INSUFFICIENT: Final = "EvidenceInsufficient"
REASON_ROLLED_BACK: Final = "RolledBackByPolicy"
REASON_NO_WAY_BACK: Final = "StableTemplateGone"

# What held a decision back, or moved it: the clamp that won.
CLAMP_NONE: Final = "none"
CLAMP_STEADY: Final = "steady"
CLAMP_TOLERANCE: Final = "tolerance"
CLAMP_MIN: Final = "minReplicas"
CLAMP_MAX: Final = "maxReplicas"
CLAMP_CONNECTIONS: Final = "connectionBudget"
CLAMP_CREATION: Final = "maxPodsInCreation"
CLAMP_ROOM: Final = "roomOneByOne"
CLAMP_SPARED: Final = "sparesCarryMeanwhile"
CLAMP_STARTING: Final = "startHasSeenTooLittle"
CLAMP_PANIC: Final = "panicNeverShrinks"
CLAMP_ROLLOUT: Final = "rolloutNeverShrinks"
CLAMP_PARTIAL: Final = "partialSignalNeverShrinks"
CLAMP_STALE: Final = "staleSignalHolds"
CLAMP_UNSEEN: Final = "scaleDownWindowNotSeen"
CLAMP_WINDOW: Final = "stableWindow"
CLAMP_STEP: Final = "stepDown"
CLAMP_CONFLICT: Final = "conflictHolds"
CLAMP_OWNERS: Final = "ownersUnknownHolds"
CLAMP_CONTESTED: Final = "contestedHolds"
CLAMP_ZERO: Final = "scaledToZeroHolds"
