package wal

// Release gives back segments that no group needs. It is called after cuts.
func (l *Log) Release() (removed int, err error) {
	if l.poison != nil {
		return 0, l.poison
	}
	oldest := l.active().number
	l.mu.Lock()
	for _, gid := range sortedGroups(l.groups) {
		state, entries := l.groups[gid].oldest(oldest)
		oldest = min(oldest, state, entries)
	}
	l.mu.Unlock()
	if oldest > l.oldest {
		if err := l.declare(oldest); err != nil {
			return 0, err
		}
	}
	for l.segments[0].number < l.oldest {
		s := l.segments[0]
		if err := l.fs.Remove(l.path(segmentName(s.number))); err != nil {
			return removed, l.fail(err)
		}
		// One by one: a gap in the numbers is corruption.
		if err := l.fs.SyncDir(l.dir); err != nil {
			return removed, l.fail(err)
		}
		l.mu.Lock()
		l.segments = l.segments[1:]
		l.mu.Unlock()
		if err := l.remove(s); err != nil {
			return removed, l.fail(err)
		}
		removed++
	}
	return removed, nil
}

// declare makes durable that the log is needed from a segment on. Together with
// everything appended so far: what allows a removal is on disk before it.
func (l *Log) declare(oldest uint32) error {
	if l.room() <= 0 {
		if err := l.reserve(1, false); err != nil {
			return err
		}
		if err := l.rotate(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.oldest = oldest
	l.begin()
	l.mu.Unlock()
	return l.Sync()
}
