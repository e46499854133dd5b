package watch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// Watcher follows one run.
type Watcher struct {
	Client client.WithWatch
	Run    types.NamespacedName
	Show   Display
	Clock  clock.WithTicker
}

// Display is where views go: a Painter or a Printer.
type Display interface {
	// Show a view. connection, when not empty, says why the view may be old.
	Show(v View, now time.Time, connection string)
	// Every is how often to show an unchanged view again; 0 means never.
	Every() time.Duration
	// Close leaves the output as other programs expect it.
	Close()
}

// FailedError says that a run ended badly.
type FailedError struct {
	Run    types.NamespacedName
	Ending Note
}

// Error implements error.
func (e *FailedError) Error() string {
	return fmt.Sprintf("run %s failed: %s: %s", e.Run, e.Ending.Reason, e.Ending.Message)
}

// Follow shows the run until it has ended and gives the last view. A bad ending is a *FailedError.
// A watch that breaks is taken up again for as long as ctx lasts.
func (w *Watcher) Follow(ctx context.Context) (View, error) {
	ctx, stop := context.WithCancel(ctx)
	var informers sync.WaitGroup
	defer informers.Wait()
	defer stop()
	defer w.Show.Close()

	var first v1alpha1.AlignmentRun
	if err := w.Client.Get(ctx, w.Run, &first); err != nil {
		return View{}, err
	}
	changed := make(signal, 1)
	var link link
	ofRun := labels.SelectorFromSet(labels.Set{v1alpha1.LabelRun: w.Run.Name})
	runs := w.informer(&v1alpha1.AlignmentRun{}, &v1alpha1.AlignmentRunList{}, changed, &link,
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", w.Run.Name)})
	batches := w.informer(&v1alpha1.ScoringBatch{}, &v1alpha1.ScoringBatchList{}, changed, &link, client.MatchingLabelsSelector{Selector: ofRun})
	datasets := w.informer(&v1alpha1.PreferenceDataset{}, &v1alpha1.PreferenceDatasetList{}, changed, &link, client.MatchingLabelsSelector{Selector: ofRun})
	for _, informer := range []cache.SharedIndexInformer{runs, batches, datasets} {
		informers.Go(func() { informer.RunWithContext(ctx) })
	}
	// The children only add detail: the run alone is worth waiting for.
	if !cache.WaitForCacheSync(ctx.Done(), runs.HasSynced) {
		return View{}, context.Cause(ctx)
	}
	return w.loop(ctx, first.UID, changed, &link, runs.GetStore(), batches.GetStore(), datasets.GetStore())
}

func (w *Watcher) loop(ctx context.Context, uid types.UID, changed signal, link *link, runs, batches, datasets cache.Store) (View, error) {
	var tick <-chan time.Time
	if every := w.Show.Every(); every > 0 {
		ticker := w.Clock.NewTicker(every)
		defer ticker.Stop()
		tick = ticker.C()
	}
	for {
		run := byName[*v1alpha1.AlignmentRun](runs)[w.Run.Name]
		if run == nil || run.UID != uid {
			return View{}, fmt.Errorf("run %s was deleted", w.Run)
		}
		view := NewView(run, byName[*v1alpha1.ScoringBatch](batches), byName[*v1alpha1.PreferenceDataset](datasets))
		w.Show.Show(view, w.Clock.Now(), link.trouble())
		if view.Ending != nil {
			if view.Ending.Type == v1alpha1.ConditionFailed {
				return view, &FailedError{w.Run, *view.Ending}
			}
			return view, nil
		}
		select {
		case <-ctx.Done():
			return view, context.Cause(ctx)
		case <-changed:
		case <-tick:
		}
	}
}

// informer keeps a store of the objects that a selector finds. Its reflector lists and watches again
// after every error, with a growing pause.
func (w *Watcher) informer(kind client.Object, list client.ObjectList, changed signal, link *link, selector client.ListOption) cache.SharedIndexInformer {
	options := func(raw metav1.ListOptions) []client.ListOption {
		// The namespace and the selector go last: they complete the raw options.
		return []client.ListOption{&client.ListOptions{Raw: &raw}, client.InNamespace(w.Run.Namespace), selector}
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			objects := list.DeepCopyObject().(client.ObjectList)
			err := w.Client.List(ctx, objects, options(raw)...)
			link.set(ctx, list, err)
			changed.send()
			return objects, err
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (apiwatch.Interface, error) {
			watch, err := w.Client.Watch(ctx, list.DeepCopyObject().(client.ObjectList), options(raw)...)
			link.set(ctx, list, err)
			changed.send()
			return watch, err
		},
	}
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(lw, w.Client), kind, 0, nil)
	// Neither setter can fail before the informer is started. The default handler would log on the screen.
	_ = informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {})
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed.send() },
		UpdateFunc: func(any, any) { changed.send() },
		DeleteFunc: func(any) { changed.send() },
	})
	return informer
}

// signal says that something changed; several changes in a row are one.
type signal chan struct{}

func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// link remembers the last answers of the API server.
type link struct {
	mu     sync.Mutex
	errors map[client.ObjectList]error // by what was asked for; no entry when the last answer was good
}

func (l *link) set(ctx context.Context, asked client.ObjectList, err error) {
	if ctx.Err() != nil {
		return // the watcher has ended
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.errors, asked)
		return
	}
	if l.errors == nil {
		l.errors = make(map[client.ObjectList]error)
	}
	l.errors[asked] = err
}

func (l *link) trouble() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var texts []string
	for _, err := range l.errors {
		// The URL of a watch says nothing to people and fills the screen.
		if request := (*url.Error)(nil); errors.As(err, &request) {
			err = request.Err
		}
		texts = append(texts, err.Error())
	}
	if len(texts) == 0 {
		return ""
	}
	return "API server, trying again: " + slices.Min(texts)
}

func byName[T client.Object](store cache.Store) map[string]T {
	objects := make(map[string]T)
	for _, item := range store.List() {
		if object, ok := item.(T); ok {
			objects[object.GetName()] = object
		}
	}
	return objects
}
