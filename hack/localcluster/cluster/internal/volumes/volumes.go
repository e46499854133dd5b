// Package volumes keeps the cluster's local PersistentVolumes ready: static ones, as Kubernetes has no provisioner of
// its own for folders of a node, and unlike hostPath they honour a pod's fsGroup.
package volumes

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
)

// Class is the name of the volumes' StorageClass, the cluster's default.
const Class = "local"

const (
	capacity    = "20Gi"
	poll        = time.Second
	provisioner = "spatialalign.dev/local-cluster"
)

// Keeper keeps Count volumes in the cluster of the layout.
type Keeper struct {
	Client kubernetes.Interface
	Layout layout.Layout
	Count  int
}

// Run creates what is missing and gives back what was released, about once a second, until the context ends.
func (k Keeper) Run(ctx context.Context) error {
	for {
		if err := k.Reconcile(ctx); err != nil {
			log.Print(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

// Reconcile makes every volume exist and be usable. A volume whose claim is gone is wiped and offered again: the
// volumes' reclaim policy is Delete.
func (k Keeper) Reconcile(ctx context.Context) error {
	class := storageClass()
	_, err := k.Client.StorageV1().StorageClasses().Get(ctx, class.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = k.Client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("storage class %s: %w", Class, err)
	}
	var failures []error
	for index := range k.Count {
		if err := k.ensure(ctx, index); err != nil {
			failures = append(failures, fmt.Errorf("volume %s: %w", Name(index), err))
		}
	}
	return errors.Join(failures...)
}

func (k Keeper) ensure(ctx context.Context, index int) error {
	client := k.Client.CoreV1().PersistentVolumes()
	existing, err := client.Get(ctx, Name(index), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		if err := os.MkdirAll(k.Layout.Volume(index), 0o755); err != nil {
			return err
		}
		_, err = client.Create(ctx, persistentVolume(index, k.Layout.Volume(index)), metav1.CreateOptions{})
		return err
	case err != nil:
		return err
	case existing.Status.Phase == corev1.VolumeReleased:
		if err := wipe(k.Layout.Volume(index)); err != nil {
			return err
		}
		log.Printf("volume %s was released: wiped", existing.Name)
		return client.Delete(ctx, existing.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &existing.UID}})
	}
	return nil
}

// wipe replaces a volume's folder by an empty one, so that no owner or mode is left over either.
func wipe(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

// Name is the name of the volume of that number.
func Name(index int) string { return filepath.Base(layout.Layout{}.Volume(index)) }

func storageClass() *storagev1.StorageClass {
	reclaim, binding := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        Class,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner:       "kubernetes.io/no-provisioner",
		ReclaimPolicy:     &reclaim,
		VolumeBindingMode: &binding,
	}
}

func persistentVolume(index int, dir string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: Name(index),
			// Leaves the deletion to us: the volume controller has no way to delete a local volume, and would call it failed.
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              Class,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(capacity)},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadWriteMany},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: dir}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{
						Key:      corev1.LabelHostname,
						Operator: corev1.NodeSelectorOpIn,
						Values:   []string{layout.NodeName},
					}},
				}},
			}},
		},
	}
}
