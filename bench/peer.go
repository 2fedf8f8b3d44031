// SPDX-License-Identifier: Apache-2.0

// The benchmark service as one writes it with nats.go.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strconv"

	"github.com/nats-io/nats.go"
)

type order struct {
	Order  int64     `json:"order"`
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
	Sum    float64   `json:"sum"`
}

type job struct {
	Stream, Durable, Subject   string
	Count, Batch, Size, Window int
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer.go:", err)
		os.Exit(1)
	}
}

func answer(msg *nats.Msg) {
	var body order
	check(json.Unmarshal(msg.Data, &body))
	for _, value := range body.Values {
		body.Sum += value
	}
	text, err := json.Marshal(&body)
	check(err)
	check(msg.Respond(text))
}

func pull(nc *nats.Conn, todo job) {
	js, err := nc.JetStream()
	check(err)
	sub, err := js.PullSubscribe(todo.Stream+".x", todo.Durable, nats.BindStream(todo.Stream))
	check(err)
	for done := 0; done < todo.Count; {
		messages, err := sub.Fetch(todo.Batch)
		if err != nats.ErrTimeout {
			check(err)
		}
		for _, msg := range messages {
			check(msg.Ack())
		}
		done += len(messages)
	}
}

func publish(nc *nats.Conn, todo job) {
	js, err := nc.JetStream(nats.PublishAsyncMaxPending(todo.Window))
	check(err)
	body := make([]byte, todo.Size)
	for i := 0; i < todo.Count; i++ {
		if todo.Window == 1 {
			_, err = js.Publish(todo.Subject, body)
		} else {
			_, err = js.PublishAsync(todo.Subject, body)
		}
		check(err)
	}
	<-js.PublishAsyncComplete()
}

type record struct {
	id    int64
	name  string
	total float64
	city  string
}

func newRecord(id int64) *record {
	return &record{id, fmt.Sprintf("customer %d", id), float64(id) * 1.5,
		fmt.Sprintf("Berlin %d", id%1000)}
}

// What bench/state_service.lua does in tables.
func keep(listen func(string, nats.MsgHandler)) {
	count, err := strconv.ParseInt(os.Getenv("BENCH_RECORDS"), 10, 64)
	check(err)
	records := make(map[int64]*record)
	for id := int64(0); id < count; id++ {
		records[id] = newRecord(id)
	}
	listen("bench.state", func(msg *nats.Msg) {
		id := rand.Int63n(count)
		records[id] = newRecord(id)
		check(msg.Respond(msg.Data))
	})
	fmt.Println("started, connected")
}

func main() {
	var options []nats.Option
	if ca := os.Getenv("NATS_CA"); ca != "" {
		options = append(options, nats.RootCAs(ca))
	}
	nc, err := nats.Connect(os.Getenv("NATS_URL"), options...)
	check(err)
	listen := func(subject string, handle nats.MsgHandler) {
		sub, err := nc.Subscribe(subject, handle)
		check(err)
		check(sub.SetPendingLimits(-1, -1))
	}
	work := func(subject string, do func(*nats.Conn, job)) {
		listen(subject, func(msg *nats.Msg) {
			var todo job
			check(json.Unmarshal(msg.Data, &todo))
			do(nc, todo)
			check(msg.Respond([]byte(fmt.Sprintf(`{"n":%d}`, todo.Count))))
		})
	}
	listen("bench.echo", func(msg *nats.Msg) { check(msg.Respond(msg.Data)) })
	listen("bench.json", answer)
	if os.Getenv("BENCH_STATE") != "" {
		keep(listen)
	}
	count := 0
	listen("bench.count", func(*nats.Msg) {
		if count++; count%4096 == 0 {
			check(nc.Publish("bench.count.report", []byte("4096")))
		}
	})
	work("bench.pull", pull)
	work("bench.publish", publish)
	select {}
}
