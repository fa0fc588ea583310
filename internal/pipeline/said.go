package pipeline

import (
	"log/slog"
	"sync"
)

// said keeps the log readable: trouble is said when it begins or changes, and once more when it is
// over, not at every tick. It is safe for concurrent use.
type said struct {
	mu   sync.Mutex
	last map[string]string
}

// trouble says an error of something, unless that was the last thing said of it.
func (s *said) trouble(log *slog.Logger, of, message string, err error, attrs ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last[of] == err.Error() {
		return
	}
	if s.last == nil {
		s.last = map[string]string{}
	}
	s.last[of] = err.Error()
	log.Warn(message, append(attrs, "err", err)...)
}

// well says that the trouble of something is over, if there was any.
func (s *said) well(log *slog.Logger, of, message string, attrs ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.last[of]; ok {
		delete(s.last, of)
		log.Info(message, attrs...)
	}
}
