package volumes

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

func TestMissingVolumesAreCreatedOnce(t *testing.T) {
	k := newKeeper(t)
	for range 2 {
		reconcile(t, k)
	}
	for index, want := range []string{"local-0", "local-1"} {
		volume := get(t, k, want)
		if volume.Spec.Local.Path != k.Layout.Volume(index) || volume.Spec.StorageClassName != Class {
			t.Errorf("%s: path %s, class %s", want, volume.Spec.Local.Path, volume.Spec.StorageClassName)
		}
		if info, err := os.Stat(volume.Spec.Local.Path); err != nil || !info.IsDir() {
			t.Errorf("%s has no folder: %v", want, err)
		}
	}
}

func TestOnlyAReleasedVolumeIsWipedAndOfferedAgain(t *testing.T) {
	for phase, wiped := range map[corev1.PersistentVolumePhase]bool{
		corev1.VolumeReleased:  true,
		corev1.VolumeBound:     false,
		corev1.VolumeAvailable: false,
		corev1.VolumePending:   false,
	} {
		k := newKeeper(t)
		reconcile(t, k)
		volume := get(t, k, "local-0")
		volume.Status.Phase = phase
		volume.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "team", Name: "claim"}
		if _, err := k.Client.CoreV1().PersistentVolumes().Update(context.Background(), volume, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(volume.Spec.Local.Path, "sub", "data")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			reconcile(t, k)
		}
		if _, err := os.Stat(file); os.IsNotExist(err) != wiped {
			t.Errorf("%s: the data is gone: %v, want %v", phase, os.IsNotExist(err), wiped)
		}
		if offered := get(t, k, "local-0").Spec.ClaimRef == nil; offered != wiped {
			t.Errorf("%s: offered again: %v, want %v", phase, offered, wiped)
		}
	}
}

func newKeeper(t *testing.T) Keeper {
	t.Helper()
	l, err := layout.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return Keeper{Client: fake.NewClientset(), Layout: l, Count: 2}
}

func reconcile(t *testing.T, k Keeper) {
	t.Helper()
	if err := k.Reconcile(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, k Keeper, name string) *corev1.PersistentVolume {
	t.Helper()
	volume, err := k.Client.CoreV1().PersistentVolumes().Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return volume
}
