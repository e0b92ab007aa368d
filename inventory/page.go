package inventory

// DefaultPage and MaxPage bound what one call of a listing returns.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// PageLimit is the number of records that a page with this Limit holds: backends call it on the Limit of a filter.
// 0 and less mean [DefaultPage]; more than [MaxPage] means [MaxPage].
func PageLimit(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}
