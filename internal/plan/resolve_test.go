package plan

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// Defaults of a runtime and what a run says fit together, however they were chosen: the trainer refuses a schedule that is shorter
// than the training or its warm-up, when all the sampling is paid.
func TestTheScheduleFitsTheTraining(t *testing.T) {
	schedule := func(scheduleSteps int32, warmup *int32) v1alpha1.TrainingSchedule {
		return v1alpha1.TrainingSchedule{ScheduleSteps: scheduleSteps, WarmupSteps: warmup}
	}
	for _, tt := range []struct {
		name             string
		spec             v1alpha1.TrainingSpec
		defaults         v1alpha1.TrainingDefaults
		schedule, warmup int
	}{
		{"nobody says", v1alpha1.TrainingSpec{}, v1alpha1.TrainingDefaults{Steps: 100}, 100, 10},
		{"nobody says, of many steps", v1alpha1.TrainingSpec{}, v1alpha1.TrainingDefaults{Steps: 10000}, 10000, 300},
		{"the runtime says", v1alpha1.TrainingSpec{}, v1alpha1.TrainingDefaults{Steps: 2400, TrainingSchedule: schedule(3000, ptr.To[int32](300))}, 3000, 300},
		{"the runtime's warm-up is longer than the run", v1alpha1.TrainingSpec{Steps: 100},
			v1alpha1.TrainingDefaults{Steps: 2400, TrainingSchedule: schedule(0, ptr.To[int32](300))}, 100, 100},
		{"the runtime's schedule has room for its warm-up", v1alpha1.TrainingSpec{Steps: 100},
			v1alpha1.TrainingDefaults{Steps: 2400, TrainingSchedule: schedule(3000, ptr.To[int32](300))}, 3000, 300},
		{"the runtime's schedule is shorter than the run", v1alpha1.TrainingSpec{Steps: 5000},
			v1alpha1.TrainingDefaults{Steps: 2400, TrainingSchedule: schedule(3000, ptr.To[int32](300))}, 5000, 300},
		{"the run's warm-up is longer than the runtime's steps", v1alpha1.TrainingSpec{TrainingSchedule: schedule(0, ptr.To[int32](500))},
			v1alpha1.TrainingDefaults{Steps: 100}, 100, 100},
		{"the run has no warm-up", v1alpha1.TrainingSpec{TrainingSchedule: schedule(0, ptr.To[int32](0))},
			v1alpha1.TrainingDefaults{Steps: 100, TrainingSchedule: schedule(0, ptr.To[int32](50))}, 100, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := resolveTraining(tt.spec, tt.defaults)
			if got.ScheduleSteps != tt.schedule || got.WarmupSteps != tt.warmup {
				t.Errorf("a schedule of %d steps with %d of warm-up, want %d with %d", got.ScheduleSteps, got.WarmupSteps, tt.schedule, tt.warmup)
			}
		})
	}
}
