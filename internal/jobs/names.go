// Package jobs turns a stage into a batch/v1 Job, and what is seen of a Job and its pods into an Outcome.
// It is pure: no client, no context, no clock.
package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// maxName leaves room for "-<index>" behind a Job's name within a DNS label of 63 characters.
const maxName = 58

var slugs = map[v1alpha1.StageName]string{
	v1alpha1.StagePrepare:             "prepare",
	v1alpha1.StageSample:              "sample",
	v1alpha1.StageScore:               "score",
	v1alpha1.StagePair:                "pair",
	v1alpha1.StageTrain:               "train",
	v1alpha1.StageEvaluationPrepare:   "eval-prepare",
	v1alpha1.StageEvaluationSample:    "eval-sample",
	v1alpha1.StageEvaluationScore:     "eval-score",
	v1alpha1.StageCompare:             "compare",
	v1alpha1.StageReevaluationPrepare: "reeval-prepare",
	v1alpha1.StageReevaluationSample:  "reeval-sample",
	v1alpha1.StageReevaluationScore:   "reeval-score",
	v1alpha1.StageReevaluationCompare: "reeval-compare",
	v1alpha1.StageLineage:             "lineage",
	v1alpha1.StageTestPrepare:         "test-prepare",
	v1alpha1.StageTestSample:          "test-sample",
	v1alpha1.StageTestScore:           "test-score",
	v1alpha1.StageTrack:               "track",
}

// Slug is the stage's part of names and artifact keys.
func Slug(stage v1alpha1.StageName) string { return slugs[stage] }

// ChildName is the name of an attempt's child: unique to the owner's UID and the place, never reused, a DNS label
// that starts with a letter.
func ChildName(owner string, uid types.UID, p Place) string {
	sum := sha256.Sum256([]byte(uid))
	iteration := strconv.Itoa(int(p.Iteration))
	if p.Round > 0 {
		iteration += "r" + strconv.Itoa(int(p.Round))
	}
	tail := fmt.Sprintf("-%s-%s-%s-%d", hex.EncodeToString(sum[:4]), iteration, Slug(p.Stage), p.Attempt)
	return stem(owner, tail)
}

// stem cuts the name of an owner for the tail of its child's.
func stem(owner, tail string) string {
	owner = strings.ReplaceAll(owner, ".", "-")
	if owner == "" || owner[0] < 'a' || owner[0] > 'z' {
		owner = "r" + owner
	}
	if room := maxName - len(tail); len(owner) > room {
		owner = strings.TrimRight(owner[:room], "-")
	}
	return owner + tail
}
