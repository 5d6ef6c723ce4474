(set-logic QF_NRA)
(declare-fun H () Real)
(declare-fun g_3 () Real)
(declare-fun h () Real)
(declare-fun g_2 () Real)
(declare-fun gamma () Real)
(declare-fun m () Real)
(assert
 (and (< 0.0 (* g_3 g_3)) (= 0.0 (+ (* g_3 g_3 h) (* (- 1.0) g_3 g_3 H)))))
(assert
 (let ((?x34 (+ (* gamma gamma g_3 g_3 h h) (* (- 1.0) gamma gamma g_3 g_3 h H) (* gamma g_2 g_3 g_3 h) (* (- 1.0) g_3 g_3 g_3 g_3))))
 (let (($x39 (and (<= 0.0 ?x34) (< 0.0 (+ (* (- 1.0) gamma g_2 h) (* g_3 g_3))))))
 (let ((?x26 (* g_3 g_3 g_3 g_3)))
 (let ((?x27 (+ (* (- 1.0) gamma gamma g_3 g_3 h h) (* gamma gamma g_3 g_3 h H) (* (- 1.0) gamma g_2 g_3 g_3 h) ?x26)))
 (let (($x29 (and (<= 0.0 (+ (* gamma g_2 h) (* (- 1.0) g_3 g_3))) (< 0.0 ?x27))))
 (or $x29 $x39)))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 g_3))
(assert
 (< 0.0 h))
(assert
 (<= 0.0 (+ m (- 3.0))))
(check-sat)
