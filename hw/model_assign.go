package hw

import "math"

// forbidden is the cost of what must not be paired.
const forbidden = math.MaxInt64

// assign gives each of n parts a place, so that no place gets more than its capacity and the sum of all costs is as
// small as it can be. Some place must take any part, such as one for those that find no other. Costs are not negative.
//
// It is the Hungarian method for places that take several parts: one shortest augmenting path for each part, by
// Dijkstra over reduced costs. A place for hundreds of equal parts is one column, so that the work is bounded by
// parts² × places, however many parts a place wants.
func assign(n int, capacity []int, cost func(part, place int) int64) []int {
	m := len(capacity)
	costs := make([]int64, n*m)
	for i := range n {
		for j := range m {
			costs[i*m+j] = cost(i, j)
		}
	}
	var (
		to      = make([]int, n)   // place of each part
		holds   = make([][]int, m) // parts of each place
		u       = make([]int64, n) // potentials
		v       = make([]int64, m)
		nearest = make([]int64, m)
		from    = make([]int, m) // part from which the shortest path reaches a place
		done    = make([]bool, m)
	)
	for root := range n {
		to[root] = -1
		for j := range m {
			nearest[j], done[j] = forbidden, false
		}
		reach := func(part int, distance int64) {
			row := costs[part*m : part*m+m]
			base := distance - u[part]
			for j, c := range row {
				if done[j] || c == forbidden {
					continue
				}
				if d := base + c - v[j]; d < nearest[j] {
					nearest[j], from[j] = d, part
				}
			}
		}
		reach(root, 0)
		end := -1
		var visited []int // saturated places, nearest first
		for end < 0 {
			best := -1
			for j := range m {
				if !done[j] && nearest[j] != forbidden && (best < 0 || nearest[j] < nearest[best]) {
					best = j
				}
			}
			if len(holds[best]) < capacity[best] {
				end = best
				break
			}
			done[best] = true
			visited = append(visited, best)
			for _, part := range holds[best] {
				reach(part, nearest[best])
			}
		}
		length := nearest[end]
		u[root] += length
		for _, j := range visited {
			rest := length - nearest[j]
			v[j] -= rest
			for _, part := range holds[j] {
				u[part] += rest
			}
		}
		for j := end; ; {
			part := from[j]
			before := to[part]
			to[part] = j
			holds[j] = append(holds[j], part)
			if part == root {
				break
			}
			for k, p := range holds[before] {
				if p == part {
					holds[before] = append(holds[before][:k], holds[before][k+1:]...)
					break
				}
			}
			j = before
		}
	}
	return to
}
