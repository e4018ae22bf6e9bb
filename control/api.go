package control

import (
	"net/http"
)

func (s *Switch) apiHandler() http.Handler     { return http.NotFoundHandler() }
func (s *Switch) metricsHandler() http.Handler { return http.NotFoundHandler() }
