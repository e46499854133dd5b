package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/devices"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/image"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/layout"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/node"
	"github.com/spatialalign/operator/hack/localcluster/cluster/internal/volumes"
)

// clusterCommands are the commands that need Linux. dir is the value of the --dir flag.
func clusterCommands(dir *string) []*cobra.Command {
	return []*cobra.Command{
		upCommand(dir), downCommand(dir), statusCommand(dir), envCommand(dir), imageCommand(dir),
		programCommand(dir, "kubectl", "Run the cluster's kubectl as its administrator: localcluster kubectl -- get pods -A"),
		programCommand(dir, "helm", "Run helm as the cluster's administrator: localcluster helm -- list -A"),
		superviseCommand(dir), devicePluginCommand(), volumesCommand(dir),
	}
}

func upCommand(dir *string) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Build what is missing, start the cluster, wait until its node is ready",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.addons.FakeGPUs = o.gpus
			if o.gpus < 0 || o.volumes < 0 || o.addons.FakeNodes < 0 {
				return fmt.Errorf("--gpus %d, --volumes %d and --kwok %d: counts are not negative", o.gpus, o.volumes, o.addons.FakeNodes)
			}
			if o.addons.ManageAllJobs && !o.kueue {
				return errors.New("--kueue-all-jobs is a setting of Kueue: add --kueue")
			}
			checkout, err := findCheckout()
			if err != nil {
				return err
			}
			l, err := place(*dir)
			if err != nil {
				return err
			}
			return up(cmd.Context(), checkout, l, o)
		},
	}
	cmd.Flags().IntVar(&o.gpus, "gpus", 4, "number of nvidia.com/gpu devices that the node pretends to have")
	cmd.Flags().BoolVar(&o.kueue, "kueue", false, "install Kueue; it stays until the cluster's data is deleted")
	cmd.Flags().BoolVar(&o.addons.ManageAllJobs, "kueue-all-jobs", false, "with --kueue: Jobs that name no queue wait for one too")
	cmd.Flags().IntVar(&o.addons.FakeNodes, "kwok", 0, "install kwok and that many nodes that do not exist, with as many GPUs each as --gpus")
	cmd.Flags().IntVar(&o.volumes, "volumes", 6, "number of local PersistentVolumes")
	return cmd
}

func downCommand(dir *string) *cobra.Command {
	var keepData bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the cluster and delete its data",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := place(*dir)
			if err != nil {
				return err
			}
			return down(cmd.Context(), l, keepData)
		},
	}
	cmd.Flags().BoolVar(&keepData, "keep-data", false, "keep objects, images and volumes for the next up")
	return cmd
}

func statusCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell whether the cluster runs (exit status 0) and what it has",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := place(*dir)
			if err != nil {
				return err
			}
			return status(cmd.Context(), l, os.Stdout)
		},
	}
}

func envCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: `Print the shell's exports for the running cluster: eval "$(localcluster env)"`,
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := place(*dir)
			if err != nil {
				return err
			}
			s, err := running(l)
			if err != nil {
				return err
			}
			fmt.Printf("export PATH='%s':\"$PATH\"\nexport KUBECONFIG='%s'\n", s.Bin, l.Kubeconfig())
			fmt.Printf("export NO_PROXY=\"${NO_PROXY:+$NO_PROXY,}%s\"\n", s.Address())
			return nil
		},
	}
}

func imageCommand(dir *string) *cobra.Command {
	var spec image.Spec
	var add []string
	load := &cobra.Command{
		Use:   "load",
		Short: "Make an image of a static binary, without a container engine, and hand it to the running cluster",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := place(*dir)
			if err != nil {
				return err
			}
			for _, text := range add {
				file, err := image.ParseFile(text)
				if err != nil {
					return fmt.Errorf("--add %w", err)
				}
				spec.Add = append(spec.Add, file)
			}
			if err := loadImage(cmd.Context(), l, spec); err != nil {
				return err
			}
			fmt.Println(spec.Name)
			return nil
		},
	}
	load.Flags().StringVar(&spec.Name, "name", "", "full image name with tag, such as docker.io/library/spatialalign:dev")
	load.Flags().StringVar(&spec.Binary, "binary", "", "statically linked executable")
	load.Flags().StringVar(&spec.Entrypoint, "entrypoint", "", "the binary's absolute path in the image")
	load.Flags().StringArrayVar(&add, "add", nil, "another file or folder, as SOURCE:TARGET; may be given again")
	for _, name := range []string{"name", "binary", "entrypoint"} {
		// Fails only for a flag that is not there.
		_ = load.MarkFlagRequired(name)
	}
	cmd := &cobra.Command{Use: "image", Short: "Images for the cluster"}
	cmd.AddCommand(load)
	return cmd
}

func programCommand(dir *string, name, short string) *cobra.Command {
	return &cobra.Command{
		Use:   name + " -- ARGS...",
		Short: short,
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := place(*dir)
			if err != nil {
				return err
			}
			s, err := running(l)
			if err != nil {
				return err
			}
			path := filepath.Join(s.Bin, name)
			if err := syscall.Exec(path, append([]string{name}, args...), clientEnvironment(l, s)); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		},
	}
}

// clientEnvironment is this process's environment, made to lead to the cluster. Proxies are not on the way.
func clientEnvironment(l layout.Layout, s node.Settings) []string {
	direct := append(strings.FieldsFunc(os.Getenv("NO_PROXY"), func(r rune) bool { return r == ',' }), s.Address())
	return append(os.Environ(), "KUBECONFIG="+l.Kubeconfig(), "NO_PROXY="+strings.Join(direct, ","))
}

func superviseCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:    "supervise",
		Short:  "The cluster's first process, started by up",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getpid() != 1 {
				return errors.New("supervise is started by up, in namespaces of its own")
			}
			l, err := place(*dir)
			if err != nil {
				return err
			}
			log.SetFlags(log.LstdFlags | log.Lmicroseconds)
			return node.Supervise(cmd.Context(), l, os.Stdin)
		},
	}
}

func devicePluginCommand() *cobra.Command {
	var plugin devices.Plugin
	cmd := &cobra.Command{
		Use:    "device-plugin",
		Short:  "The node's GPUs, started by supervise",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return plugin.Serve(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&plugin.Count, "gpus", 0, "number of devices")
	cmd.Flags().StringVar(&plugin.Dir, "sockets", "/var/lib/kubelet/device-plugins", "the kubelet's folder of device plugins")
	return cmd
}

func volumesCommand(dir *string) *cobra.Command {
	var keeper volumes.Keeper
	cmd := &cobra.Command{
		Use:    "volumes",
		Short:  "The keeper of the local volumes, started by supervise",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := place(*dir)
			if err != nil {
				return err
			}
			keeper.Layout = l
			if keeper.Client, err = node.Client(l); err != nil {
				return err
			}
			return keeper.Run(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&keeper.Count, "count", 0, "number of volumes")
	return cmd
}
