// A device plugin as one would write it in Go, to compare with: the same resource, the same devices, the same answer as nri-cdi's, and no more.
//
//	go-device-plugin RESOURCE KUBELET-DIR NODE-DIR
//
// Each entry of NODE-DIR is a device; one that is gone is unhealthy. It registers once and does not come back after a kubelet's restart.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	resource string
	lock     sync.Mutex
	changed  *sync.Cond
	devices  []*api.Device
	place    map[string]int
	version  int
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{GetPreferredAllocationAvailable: true}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	for sent := -1; ; {
		p.lock.Lock()
		for p.version == sent {
			p.changed.Wait()
		}
		sent = p.version
		devices := append([]*api.Device(nil), p.devices...)
		p.lock.Unlock()
		if err := stream.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
			return err
		}
	}
}

func (p *plugin) GetPreferredAllocation(_ context.Context, request *api.PreferredAllocationRequest) (*api.PreferredAllocationResponse, error) {
	answer := &api.PreferredAllocationResponse{}
	for _, asked := range request.ContainerRequests {
		ids := append([]string(nil), asked.AvailableDeviceIDs...)
		p.lock.Lock()
		sort.Slice(ids, func(i, j int) bool { return p.place[ids[i]] < p.place[ids[j]] })
		p.lock.Unlock()
		ids = ids[:min(len(ids), int(asked.AllocationSize))]
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerPreferredAllocationResponse{DeviceIDs: ids})
	}
	return answer, nil
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, asked := range request.ContainerRequests {
		names := make([]string, 0, len(asked.DevicesIds))
		for _, id := range asked.DevicesIds {
			names = append(names, p.resource+"="+id)
		}
		sort.Strings(names)
		var random [16]byte
		if _, err := rand.Read(random[:]); err != nil {
			return nil, err
		}
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{
			Annotations: map[string]string{fmt.Sprintf("cdi.k8s.io/go_%x", random): strings.Join(names, ",")},
		})
	}
	return answer, nil
}

// follow keeps the devices' health: a node that goes or comes is one entry to look at.
func (p *plugin) follow(directory string, watcher *fsnotify.Watcher) {
	for event := range watcher.Events {
		index, known := p.place[filepath.Base(event.Name)]
		if !known {
			continue
		}
		health := api.Healthy
		if _, err := os.Lstat(event.Name); err != nil {
			health = api.Unhealthy
		}
		p.lock.Lock()
		if old := p.devices[index]; old.Health != health {
			p.devices[index] = &api.Device{ID: old.ID, Health: health}
			p.version++
			p.changed.Broadcast()
		}
		p.lock.Unlock()
	}
}

func run(resource, kubelet, nodes string) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	if err := watcher.Add(nodes); err != nil {
		return err
	}
	entries, err := os.ReadDir(nodes)
	if err != nil {
		return err
	}
	p := &plugin{resource: resource, place: map[string]int{}}
	p.changed = sync.NewCond(&p.lock)
	for index, entry := range entries {
		p.place[entry.Name()] = index
		p.devices = append(p.devices, &api.Device{ID: entry.Name(), Health: api.Healthy})
	}
	const endpoint = "go.sock"
	listener, err := net.Listen("unix", filepath.Join(kubelet, endpoint))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	go p.follow(nodes, watcher)
	connection, err := grpc.NewClient("unix://"+filepath.Join(kubelet, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: endpoint, ResourceName: resource}
	if _, err := api.NewRegistrationClient(connection).Register(context.Background(), request); err != nil {
		return err
	}
	return <-ended
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: go-device-plugin RESOURCE KUBELET-DIR NODE-DIR")
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}
