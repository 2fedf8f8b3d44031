// SPDX-License-Identifier: Apache-2.0

// A client of nats.go for spec/interop/interop_spec.lua: one operation per
// call, its result as one line of JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

type entry struct {
	Key       string `json:"key"`
	Value     string `json:"value"`
	Revision  uint64 `json:"revision"`
	Operation string `json:"operation"`
}

var operations = map[nats.KeyValueOp]string{
	nats.KeyValuePut: "PUT", nats.KeyValueDelete: "DEL", nats.KeyValuePurge: "PURGE",
}

func toEntry(e nats.KeyValueEntry) entry {
	return entry{e.Key(), string(e.Value()), e.Revision(), operations[e.Operation()]}
}

func keyValue(js nats.JetStreamContext, op string, args []string) (any, error) {
	if op == "kv_create" {
		_, err := js.CreateKeyValue(&nats.KeyValueConfig{Bucket: args[0], History: 5})
		return true, err
	}
	kv, err := js.KeyValue(args[0])
	if err != nil {
		return nil, err
	}
	switch op {
	case "kv_put":
		return kv.PutString(args[1], args[2])
	case "kv_new":
		return kv.Create(args[1], []byte(args[2]))
	case "kv_delete":
		return true, kv.Delete(args[1])
	case "kv_purge":
		return true, kv.Purge(args[1])
	case "kv_keys":
		return kv.Keys()
	case "kv_get":
		e, err := kv.Get(args[1])
		if err != nil {
			return nil, err
		}
		return toEntry(e), nil
	case "kv_history":
		list, err := kv.History(args[1])
		result := []entry{}
		for _, e := range list {
			result = append(result, toEntry(e))
		}
		return result, err
	}
	return nil, fmt.Errorf("no operation %s", op)
}

func put(store nats.ObjectStore, name, path, description string) (any, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return store.Put(&nats.ObjectMeta{Name: name, Description: description,
		Headers: nats.Header{"X": {"1", "2"}}}, file)
}

func objects(js nats.JetStreamContext, op string, args []string) (any, error) {
	if op == "obj_create" {
		_, err := js.CreateObjectStore(&nats.ObjectStoreConfig{Bucket: args[0]})
		return true, err
	}
	store, err := js.ObjectStore(args[0])
	if err != nil {
		return nil, err
	}
	switch op {
	case "obj_put":
		return put(store, args[1], args[2], args[3])
	case "obj_get":
		return true, store.GetFile(args[1], args[2])
	case "obj_info":
		return store.GetInfo(args[1])
	case "obj_delete":
		return true, store.Delete(args[1])
	case "obj_link":
		target, err := store.GetInfo(args[2])
		if err != nil {
			return nil, err
		}
		return store.AddLink(args[1], target)
	case "obj_list":
		list, err := store.List()
		names := []string{}
		for _, info := range list {
			names = append(names, info.Name)
		}
		return names, err
	}
	return nil, fmt.Errorf("no operation %s", op)
}

func messages(nc *nats.Conn, js nats.JetStreamContext, op string, args []string) (any, error) {
	msg := nats.NewMsg(args[1])
	switch op {
	case "msg_request": // with headers; what came back
		msg.Data, msg.Header = []byte(args[2]), nats.Header{"X": {"1", "2"}}
		reply, err := nc.RequestMsg(msg, 5*time.Second)
		if err != nil {
			return nil, err
		}
		return map[string]any{"data": string(reply.Data), "headers": reply.Header}, nil
	case "msg_refuse": // answers one request with a service error
		sub, err := nc.SubscribeSync(args[1])
		if err != nil {
			return nil, err
		}
		request, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			return nil, err
		}
		reply := nats.NewMsg(request.Reply)
		reply.Header.Set("Nats-Service-Error", args[3])
		reply.Header.Set("Nats-Service-Error-Code", args[2])
		if err := nc.PublishMsg(reply); err != nil {
			return nil, err
		}
		return true, nc.Flush()
	case "msg_store": // publishes with headers into a stream
		msg.Data, msg.Header = []byte(args[2]), nats.Header{"X": {"stored"}}
		ack, err := js.PublishMsg(msg)
		if err != nil {
			return nil, err
		}
		return ack.Sequence, nil
	case "msg_ack": // acknowledges the next message of a consumer
		sub, err := js.PullSubscribe("", args[2], nats.Bind(args[1], args[2]))
		if err != nil {
			return nil, err
		}
		list, err := sub.Fetch(1)
		if err != nil {
			return nil, err
		}
		return list[0].Header.Get("X"), list[0].AckSync()
	}
	return nil, fmt.Errorf("no operation %s", op)
}

func run(url, op string, args []string) (any, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		return nil, err
	}
	if op[:3] == "kv_" {
		return keyValue(js, op, args)
	}
	if op[:4] == "msg_" {
		return messages(nc, js, op, args)
	}
	return objects(js, op, args)
}

func main() {
	result, err := run(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		result = map[string]string{"error": err.Error()}
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"result": result})
}
