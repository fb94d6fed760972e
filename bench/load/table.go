package main

import (
	"fmt"
	"slices"
	"time"
)

// table prints medians over the rounds, ours over theirs.
func table(theirs, ours *system) {
	fmt.Println("| work | etcd | quorate | ratio | p50 ms | p99 ms | server CPU µs/op | RSS MiB per member |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for i, t := range theirs.rows {
		o := ours.rows[i]
		if t.samples[0].alone != 0 {
			a, b := median(t, seconds), median(o, seconds)
			fmt.Printf("| %s | %.2f s | %.2f s | %.2f | | | | %.0f / %.0f |\n", t.name, a, b, b/a, median(t, rss), median(o, rss))
			continue
		}
		a, b := median(t, rate), median(o, rate)
		fmt.Printf("| %s | %.0f/s %s | %.0f/s %s | %.2f | %.2f / %.2f | %.2f / %.2f | %.0f / %.0f | %.0f / %.0f |\n",
			t.name, a, spread(t), b, spread(o), b/a,
			median(t, p50), median(o, p50), median(t, p99), median(o, p99), median(t, perOp), median(o, perOp), median(t, rss), median(o, rss))
	}
	fmt.Println("\nFigures are etcd / quorate, medians over the rounds; in brackets the spread of the throughput.")
}

func rate(s sample) float64    { return s.perSecond }
func p50(s sample) float64     { return milliseconds(s.p50) }
func p99(s sample) float64     { return milliseconds(s.p99) }
func perOp(s sample) float64   { return float64(s.cpu) / float64(time.Microsecond) }
func rss(s sample) float64     { return s.rss }
func seconds(s sample) float64 { return s.alone.Seconds() }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func values(r *row, of func(sample) float64) []float64 {
	var v []float64
	for _, s := range r.samples {
		v = append(v, of(s))
	}
	slices.Sort(v)
	return v
}

func median(r *row, of func(sample) float64) float64 {
	v := values(r, of)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func spread(r *row) string {
	v := values(r, rate)
	return fmt.Sprintf("(%.0f–%.0f)", v[0], v[len(v)-1])
}
